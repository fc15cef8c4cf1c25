"""Before the first step: look at the data and the machine, fill the recipe, write down what was decided and why."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.files import replacing
from malpighi.errors import DataError, RecipeError, SpacingError
from malpighi.inference.manifest import names_a_folder
from malpighi.recipes.facts import Choice, DataFacts, MachineFacts, StepTimes
from malpighi.recipes.load import AUTO, build
from malpighi.recipes.plan import plan
from malpighi.recipes.recipe import DataOptions, Recipe
from malpighi.sampling.survey import Survey
from malpighi.tasks.instances import require_instances

PACKAGES = (
    "malpighi",
    "torch",
    "timm",
    "segmentation-models-pytorch",
    "lightning-fabric",
    "numpy",
    "zarr",
    "tifffile",
    "imagecodecs",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Prepared:
    """A recipe with every value in place, and how it came to them."""

    recipe: Recipe
    choices: tuple[Choice, ...]
    machine: MachineFacts


def prepare(raw: Mapping[str, Any], survey: Survey) -> Prepared:
    """Fill the "auto" values of a raw recipe by what was measured.

    Raises:
        DataError: an image or label of the data set cannot be used.
        SpacingError: some images say their pixel size and others do not.
        RecipeError: the recipe cannot be filled or is wrong.
    """
    facts = data_facts(survey)
    _require_unit(raw, facts.unit, survey.table.root)  # before steps are measured, which may take minutes
    machine = machine_facts()
    full, choices = plan(raw, facts, machine, lambda partial: _time_steps(partial, facts, machine))
    recipe = build(full, f"recipe {raw.get('name', '')}")
    require_instances(recipe, recipe.data.classes or survey.table.classes)
    _require_network(recipe, facts.channels)
    return Prepared(recipe, tuple(choices), machine)


def _require_unit(raw: Mapping[str, Any], unit: str, root: Path) -> None:
    """Refuse images in another unit than the recipe's."""
    asked = raw.get("data", {}).get("unit", DataOptions().unit)
    if asked in (AUTO, unit):
        return
    cure = "with --spacing px they are worked in pixels" if unit == "µm" else "give their µm per pixel with --spacing"
    raise SpacingError(
        f"{root}: the images are in {unit} and the recipe's data.unit is {asked}, as is its data.spacing; {cure}, or set "
        f"data.unit={unit} and a data.spacing in {unit}"
    )


def _require_network(recipe: Recipe, channels: int) -> None:
    """Refuse a network that cannot be built, or tiles that it cannot take, before the first step and not at the first validation."""
    from malpighi.models.architectures import POOLED
    from malpighi.models.build import build_network
    from malpighi.tasks.image import require_stride

    network = build_network(replace(recipe.model, pretrained="never"), channels, _outputs(recipe), _values(recipe))
    if recipe.train.batch == 1 and recipe.model.architecture in POOLED:
        raise RecipeError(
            f'train.batch 1: "{recipe.model.architecture}" normalises the mean of each tile over the batch, so it takes 2 or more'
        )
    require_stride(replace(recipe.predict, tile=recipe.data.tile), network.stride, "data.tile")
    if slices := getattr(network, "slices", None):  # in prediction the tile is a stack through which the slices slide
        depth = recipe.data.sides(3)[0]
        if depth != slices[0]:
            raise RecipeError(f"data.tile {recipe.data.tile}: a network on {slices[0]} slices takes tiles {slices[0]} deep")
    else:
        require_stride(recipe.predict, network.stride)


def _outputs(recipe: Recipe) -> int:
    """What the network gives, as far as the recipe says it."""
    return len(recipe.instances.layers) or max(1, len(recipe.data.classes))


def _values(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Values of each attribute that the network tells; any two, where the cases have not been looked at."""
    return dict.fromkeys(recipe.model.tells, ("one", "another"))


def machine_facts() -> MachineFacts:
    """The machine that this process runs on."""
    from malpighi.training.machine import device_facts

    return MachineFacts(**device_facts())  # type: ignore[arg-type]


def data_facts(survey: Survey) -> DataFacts:
    """What the plan needs of a survey; stops where the data cannot be trained on."""
    if survey.problems:
        more = f" (and {len(survey.problems) - 1} more; `malpighi inspect` lists them)" if len(survey.problems) > 1 else ""
        raise DataError(survey.problems[0] + more)
    kinds = survey.spacings
    if "px" in kinds and len(kinds) > 1:
        raise SpacingError(
            f"{survey.table.root}: {kinds['px']} images do not say their pixel size and the others do; "
            "give it with --spacing, or a spacing column in manifest.csv"
        )
    _require_one_kind(survey, "number of channels", [len(fact.channels) for fact in survey.facts])
    _require_one_kind(survey, "value type", [fact.dtype for fact in survey.facts])
    for name in survey.table.classes:
        if not names_a_folder(name):
            raise DataError(
                f"{survey.table.root}: class {name!r} cannot name a folder of results; rename it without / and \\ and leading dot"
            )
    if len(survey.table.counts("group")) < 2 and not any(case.split == "validation" for case in survey.table.cases):
        raise DataError(
            f"{survey.table.root}: all cases are of one group (donor), so none can be held out; add data, or name finer groups "
            "or a split in manifest.csv"
        )
    if not any(facts.share > 0 for facts in survey.classes.values()):
        raise DataError(
            f"{survey.table.root}: no annotation holds an object of {', '.join(survey.table.classes)}; "
            "there is nothing to learn from, check masks and class names with `malpighi inspect`"
        )
    diameters = [facts.typical_px for facts in survey.classes.values() if facts.typical_px]
    shares = [facts.share for facts in survey.classes.values() if facts.cases]
    return DataFacts(
        cases=len(survey.table.labelled),
        channels=next(iter(survey.channels)),
        dtype=max(survey.dtypes, key=lambda name: survey.dtypes[name]),
        unit="µm" if survey.spacing else "px",
        spacing=survey.spacing[-1] if survey.spacing else 1.0,
        side=float(np.median([min(fact.shape[-2:]) for fact in survey.readable])),
        diameter=float(np.median(diameters)) if diameters else float("nan"),
        foreground=float(np.nanmean(shares)) if shares else float("nan"),
        shape=tuple(int(n) for n in np.median([fact.shape for fact in survey.readable], axis=0)),
        voxel=survey.spacing or (1.0,) * survey.rank,
    )


def _require_one_kind(survey: Survey, what: str, values: Sequence[Any]) -> None:
    """One network takes one kind of image: the intensities of another would be nonsense to it."""
    if len(set(values)) > 1:
        first = {value: survey.facts[values.index(value)].image for value in dict.fromkeys(values)}
        listed = ", ".join(f"{value} ({values.count(value)}, such as {image})" for value, image in first.items())
        raise DataError(f"{survey.table.root}: images differ in their {what}: {listed}; convert them to one kind")


def _time_steps(raw: Mapping[str, Any], data: DataFacts, machine: MachineFacts) -> StepTimes:
    """Time training steps of the recipe's network on this machine."""
    from malpighi.models.build import build_network
    from malpighi.training.machine import time_steps

    filled = {
        section: {k: v for k, v in table.items() if v != AUTO} for section, table in raw.items() if isinstance(table, dict)
    }
    filled.setdefault("model", {})["pretrained"] = "never"
    recipe = build(filled)
    shape = (recipe.train.batch, data.channels, *recipe.data.sides(data.rank))
    seconds = time_steps(
        lambda: build_network(recipe.model, data.channels, _outputs(recipe), _values(recipe)), shape, machine.device
    )
    return StepTimes(seconds)


def environment(seed: int) -> dict[str, Any]:
    """What a run should be repeatable by: versions, platform, command, seed."""
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "seed": seed,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON beside `path`, then rename it into place."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
