"""A finished training run, read back: everything inference needs to do what training did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.images import Source
from malpighi.inference.options import PredictOptions
from malpighi.recipes.load import load_recipe
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.intensity import Intensity

if TYPE_CHECKING:
    from malpighi.models.network import Network

RECIPE = "recipe.toml"
COARSEST, FINEST = 64, 16
"""How much coarser than an image's nearest level, and how much finer, it may be worked."""


@dataclass(frozen=True)
class Inputs:
    """What a network was trained on and so takes and gives.

    Attributes:
        classes: of its output, in order.
        channels: number of image channels.
        spacing: working spacing.
        intensity: raw voxels → network input.
        dtype: of the images' values, "uint8", …: `intensity` fits no other. Empty: not known, and not checked.
        layers: what a network that tells objects apart gives instead of its one class, see `InstanceOptions.layers`.
        told: attribute → its values, in order, of what the network tells of a tile as a whole; see `ModelOptions.tells`.
    """

    classes: tuple[str, ...]
    channels: int
    spacing: Spacing
    intensity: Intensity
    dtype: str = ""
    layers: tuple[str, ...] = ()
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the network gives, in order: its classes, or the layers of which their objects are made."""
        return self.layers or self.classes

    def as_facts(self) -> dict[str, str]:
        """Strings to keep beside the weights."""
        spacing = {"values": self.spacing.values, "unit": self.spacing.unit}
        facts = {"classes": self.classes, "channels": self.channels, "spacing": spacing, "intensity": self.intensity.as_dict()}
        more = {"dtype": self.dtype, "layers": self.layers, "told": dict(self.told)}
        return {key: json.dumps(value) for key, value in {**facts, **more}.items()}

    @classmethod
    def from_facts(cls, facts: dict[str, str]) -> Inputs:
        """Back from `as_facts`."""
        read = {key: json.loads(facts[key]) for key in ("classes", "channels", "spacing", "intensity")}
        spacing = Spacing(tuple(read["spacing"]["values"]), read["spacing"]["unit"])
        dtype, layers = json.loads(facts.get("dtype", '""')), tuple(json.loads(facts.get("layers", "[]")))
        told = {name: tuple(values) for name, values in dict(json.loads(facts.get("told", "{}"))).items()}
        intensity = Intensity.from_dict(read["intensity"])
        return cls(tuple(read["classes"]), read["channels"], spacing, intensity, dtype, layers, told)

    def at(self, source: Source, options: PredictOptions) -> Inputs:
        """What one image is worked with: these, at its own spacing where `options.across` says so.

        Raises:
            SpacingError: trained in µm and the image does not say its pixel size, or the reverse.
        """
        self._check_unit(source)
        return replace(self, spacing=options.spacing(source.space, self.spacing)) if options.across else self

    def check(self, source: Source) -> None:
        """Refuse an image that the network cannot take.

        Raises:
            SpacingError: trained in µm and the image does not say its pixel size, or the reverse.
            DataError: another number of channels or axes.
        """
        self._check_unit(source)
        self._check_values(source)
        if source.space.rank != self.spacing.rank:
            raise DataError(f"{source.name} has {source.space.rank} spatial axes; the network takes {self.spacing.rank}")
        self._check_scale(source)

    def _check_unit(self, source: Source) -> None:
        have = source.space.spacing
        if self.spacing.physical and not have.physical:
            raise SpacingError(
                f"{source.name} does not say its pixel size, and the network was trained at {self.spacing}; "
                "give the image's µm per pixel with --spacing"
            )
        if have.physical and not self.spacing.physical:
            raise SpacingError(
                f"{source.name} has {have} pixels, but the network was trained on images of unknown pixel size, in pixels; "
                "train it with --spacing, or give --spacing px to work this image in pixels too"
            )

    def _check_values(self, source: Source) -> None:
        if len(source.channels) != self.channels:
            raise DataError(
                f"{source.name} has {len(source.channels)} channels ({', '.join(source.channels[:8])}) and the network takes "
                f"{self.channels}; convert the image, or train on images of its kind"
            )
        if self.dtype and source.dtype.name != self.dtype:
            raise DataError(
                f"{source.name} holds {source.dtype.name} values and the network was trained on {self.dtype}; "
                "convert the image, or train on images of its kind"
            )

    def _check_scale(self, source: Source) -> None:
        """A pixel size that is wrong by orders of magnitude would make tiles of gigabytes, or nothing to see."""
        nearest = source.space.spacings[source.space.level_for(self.spacing)]
        ratio = self.spacing.over(nearest)
        if max(ratio) > COARSEST or min(ratio) < 1 / FINEST:
            raise SpacingError(
                f"{source.name} has {source.space.spacing} pixels (nearest level: {nearest}) and would be worked at "
                f"{self.spacing}, {max(ratio):g} times as large; give the true size with --spacing, or choose another data.spacing"
            )


@dataclass(frozen=True)
class TrainedRun:
    """A run folder, opened."""

    path: Path
    recipe: Recipe
    inputs: Inputs

    def network(self) -> Network:
        """The network with the run's best weights, on the CPU, in evaluation mode."""
        from malpighi.models.build import build_network
        from malpighi.training.checkpoint import load_weights

        options = replace(self.recipe.model, pretrained="never")
        network = build_network(options, self.inputs.channels, len(self.inputs.outputs), self.inputs.told)
        load_weights(self.path, network)
        return network.eval()


STARTERS, CARD = "malpighi.starters", "MODEL_CARD.md"
"""Package of the models that come with malpighi, a run folder each."""


def list_starters() -> tuple[str, ...]:
    """Names of the models that come with malpighi."""
    from importlib.resources import files

    return tuple(sorted(each.name for each in files(STARTERS).iterdir() if each.joinpath(RECIPE).is_file()))


def is_starter(run: Path) -> bool:
    """Whether a run came with malpighi."""
    return (run / CARD).is_file()


def find_run(name: Path | str) -> Path:
    """The run folder at this path; where there is none, the starter model of this name.

    A folder that is no run does not hide a starter model: data sets are called `nuclei` too.

    Raises:
        DataError: neither, and no such folder; lists the starter models.
    """
    from importlib.resources import as_file, files

    path = Path(name)
    if (path / RECIPE).is_file():
        return path
    known = list_starters()
    if str(name) in known:
        with as_file(files(STARTERS) / str(name)) as folder:
            return folder
    if path.exists():
        return path
    models = f"starter models are {', '.join(known)}" if known else "no starter model is installed"
    raise DataError(
        f"{name}: not a training run, there is no such folder; give the one that `malpighi train -o` wrote ({models})"
    )


def open_run(path: Path) -> TrainedRun:
    """Read a run folder of `malpighi train`, or a starter model by its name.

    Raises:
        DataError: it is none, or it has no weights yet.
    """
    from safetensors import SafetensorError, safe_open

    from malpighi.training.checkpoint import WEIGHTS

    path = find_run(path)
    if not (path / RECIPE).is_file():
        raise DataError(f"{path}: not a training run (it has no {RECIPE}); give the folder that `malpighi train -o` wrote")
    weights = path / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{path}: the run has no weights yet; go on with `malpighi train DATA -o {path}`")
    try:
        with safe_open(weights, framework="pt") as file:
            facts = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{weights}: not a weights file ({error}); copy the run folder again, or train again") from error
    try:
        inputs = Inputs.from_facts(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{weights}: weights that `malpighi train` did not write; give the run folder it made") from error
    return TrainedRun(path, load_recipe(path / RECIPE), inputs)
