"""Recipe: one frozen bundle of options a step, in the order in which pixels flow. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from malpighi.errors import RecipeError
from malpighi.geometry import Spacing
from malpighi.inference.options import PredictOptions
from malpighi.models.build import ModelOptions
from malpighi.models.losses import LossOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.boxes import SamplerOptions
from malpighi.sampling.intensity import IntensityOptions
from malpighi.training.options import OptimOptions, TrainOptions


@dataclass(frozen=True)
class DataOptions:
    """At which resolution the data is worked, and how it is split.

    Attributes:
        classes: what to segment, in this order; empty: every class of the data set.
        unit: "µm": `spacing` is micrometres a pixel and every image must say its own; "px": it is level-0 pixels.
        spacing: working size of a pixel, in `unit`.
        folds: number of grouped, stratified folds.
        fold: which of them is held out, from 0; -1 trains on everything and validates on fold 0 (its score is then no
            estimate).
        tile: side of training tiles, in working pixels.
        context: tiles are read this many times as large and cut after the warp.
    """

    classes: tuple[str, ...] = ()
    unit: Literal["µm", "px"] = "px"
    spacing: float = 1.0
    folds: int = 5
    fold: int = 0
    tile: int = 256
    context: float = 1.25

    def __post_init__(self) -> None:
        if self.spacing <= 0:
            raise RecipeError(f"data.spacing {self.spacing} must be positive")
        if not -1 <= self.fold < self.folds:
            raise RecipeError(f"data.fold {self.fold}: with data.folds = {self.folds} it lies between -1 and {self.folds - 1}")
        if self.folds < 2:
            raise RecipeError(f"data.folds {self.folds}: must be at least 2, one of them is held out")
        if self.tile < 1:
            raise RecipeError(f"data.tile {self.tile}: must be at least 1")
        if self.context < 1:
            raise RecipeError(f"data.context {self.context} must be at least 1")

    def working_spacing(self, rank: int = 2) -> Spacing:
        """The spacing of tiles."""
        return Spacing((self.spacing,) * rank, self.unit)


@dataclass(frozen=True)
class Recipe:
    """A whole system: what `train` does, and what `segment` repeats.

    Attributes:
        name: of the recipe file.
        about: one line for `malpighi recipes`.
        source: where its numbers come from.
        task: which machine configuration; "ftu" is 2-D segmentation of functional tissue units.
    """

    name: str = ""
    about: str = ""
    source: str = ""
    task: Literal["ftu"] = "ftu"
    data: DataOptions = field(default_factory=DataOptions)
    intensity: IntensityOptions = field(default_factory=IntensityOptions)
    sampling: SamplerOptions = field(default_factory=SamplerOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    predict: PredictOptions = field(default_factory=PredictOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)
