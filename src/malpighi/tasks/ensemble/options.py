"""What `segment --set` says to an ensemble: some of it to its members, some to what they give together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from malpighi.errors import RecipeError
from malpighi.inference.ensemble_combine import limit_of
from malpighi.objects.measure import ObjectOptions
from malpighi.recipes.load import build, read_raw
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.manifest import NAME as MANIFEST
from malpighi.tasks.ensemble.folder import Ensemble
from malpighi.tasks.run import RECIPE

OWN = "ensemble."
_JOINED = ("predict.thresholds", "predict.one_class", "objects.")
_REFUSED = {
    "predict.top": "an ensemble has thresholds; give predict.thresholds",
    "instances.": "an ensemble joins masks",
}


@dataclass(frozen=True)
class Options:
    """Overrides, sorted.

    Attributes:
        of_members: for every member's recipe.
        objects: of the joined masks: the first member's, as overridden.
        one_class: of each image only the class with most voxels is kept.
        thresholds: instead of the fitted ones, one a class; () where none are given.
        value: of the attribute by which thresholds differ, of all images; None: not said.
    """

    of_members: tuple[str, ...]
    objects: ObjectOptions
    one_class: bool
    thresholds: tuple[float, ...]
    value: str | None

    @property
    def told(self) -> dict[str, Any]:
        """What of it a prediction depends on."""
        keys = (override.partition("=") for override in self.of_members)
        objects = {f"objects.{name}": value for name, value in asdict(self.objects).items()}
        return {**{name: value for name, _, value in keys}, **objects, "predict.one_class": self.one_class}


def split_overrides(ensemble: Ensemble, first: Path, overrides: Sequence[str]) -> Options:
    """Sort overrides by whom they concern.

    Args:
        first: a member's run folder, whose recipe says what is not overridden.

    Raises:
        RecipeError: an override that an ensemble has no place for.
    """
    value: str | None = None
    of_members: list[str] = []
    joined: list[str] = []
    for override in overrides:
        key, _, given = override.partition("=")
        if why := next((why for start, why in _REFUSED.items() if key.startswith(start)), None):
            raise RecipeError(f"--set {override}: {why}")
        if key.startswith(OWN):
            value = _value(ensemble, key.removeprefix(OWN), given, override)
        else:
            (joined if key.startswith(_JOINED) else of_members).append(override)
    recipe = build(read_raw(str(first / RECIPE), joined), "--set")
    assert isinstance(recipe, Recipe), "members are no runs of cells"
    new = any(override.startswith("predict.thresholds") for override in joined)
    if new and limit_of(ensemble.how, 1) is not None:
        raise RecipeError(
            f"--set predict.thresholds: members of a {ensemble.how} are cut at thresholds of their own; leave it out"
        )
    thresholds = recipe.predict.limits(len(ensemble.classes)) if new else ()
    return Options(tuple(of_members), recipe.objects, recipe.predict.one_class, thresholds, value)


def _value(ensemble: Ensemble, name: str, given: str, override: str) -> str:
    if not ensemble.attribute:
        raise RecipeError(f"--set {override}: this ensemble's thresholds are by class alone; make it with --by {name}")
    if name != ensemble.attribute or given not in ensemble.values:
        can = "|".join(ensemble.values)
        raise RecipeError(
            f"--set {override}: thresholds were fitted by {ensemble.attribute}; give {OWN}{ensemble.attribute}={can}"
        )
    return given


def value_of(image: Path, attribute: str) -> str | None:
    """What a manifest.csv beside an image, or beside its folder, says of it, as images to fit on are counted; None where there is none."""
    for root in (image.parent, image.parent.parent):
        if (root / MANIFEST).is_file():
            for case in find_cases(root / MANIFEST).cases:
                if case.image.resolve() == image.resolve():
                    return case.value(attribute)
    return None
