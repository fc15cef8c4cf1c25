"""Recipe: one frozen bundle of options a step, in the order in which pixels flow. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from malpighi.errors import RecipeError
from malpighi.geometry import Spacing
from malpighi.inference.options import PredictOptions
from malpighi.models.boxes import BoxOptions, require_boxes_fit
from malpighi.models.build import WIDTHS, ModelOptions
from malpighi.models.loss_fit import require_loss_fits
from malpighi.models.losses import LossOptions
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.recipes.fitting import require_fitting, require_sampling_fits
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.boxes import SamplerOptions
from malpighi.sampling.intensity import IntensityOptions
from malpighi.sampling.pseudo_tiles import CycleOptions
from malpighi.training.options import OptimOptions, TrainOptions

Axis = Literal["z", "y", "x"]
Number = TypeVar("Number", int, float)


def _each(value: Number | tuple[Number, ...]) -> tuple[Number, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


@dataclass(frozen=True)
class DataOptions:
    """At which resolution the data is worked, and how it is split.

    Attributes:
        classes: what to segment, in this order; empty: every class of the data set.
        unit: "µm": `spacing` is micrometres a pixel and every image must say its own; "px": it is level-0 pixels.
        spacing: working size of a pixel, in `unit`; of volumes one number, or one an axis (z, y, x).
        folds: number of grouped, stratified folds.
        fold: which of them is held out, from 0; -1 trains on everything and validates on fold 0 (its score is then no
            estimate).
        tile: side of training tiles, in working pixels; of volumes one number, or one an axis.
        context: tiles are read this many times as large and cut after the warp.
        reductions: of images: tiles are drawn at so many times the working spacing, one after the other in proportion to area; (1.0,) is at
            the working spacing alone.
        across: of images: instead, each whole image in k × k tiles for each of these k: (1, 2, 3) is the whole, its quarters, its ninths.
        axes: of volumes, along which axes tiles are stacked: for each, the volume is turned so that this axis comes first.
            Training draws from all alike; networks on slices predict along each, and the mean is taken.
    """

    classes: tuple[str, ...] = ()
    unit: Literal["µm", "px"] = "px"
    spacing: float | tuple[float, ...] = 1.0
    folds: int = 5
    fold: int = 0
    tile: int | tuple[int, ...] = 256
    context: float = 1.25
    axes: tuple[Axis, ...] = ("z",)
    reductions: tuple[float, ...] = (1.0,)
    across: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(_each(self.spacing)) <= 0:
            raise RecipeError(f"data.spacing {self.spacing} must be positive")
        if not -1 <= self.fold < self.folds:
            raise RecipeError(f"data.fold {self.fold}: with data.folds = {self.folds} it lies between -1 and {self.folds - 1}")
        if self.folds < 2:
            raise RecipeError(f"data.folds {self.folds}: must be at least 2, one of them is held out")
        if min(_each(self.tile)) < 1:
            raise RecipeError(f"data.tile {self.tile}: must be at least 1")
        if not self.axes or len(set(self.axes)) != len(self.axes):
            raise RecipeError(f"data.axes {list(self.axes)}: name each of z, y, x at most once, and at least one")
        if not self.reductions or min(self.reductions) <= 0:
            raise RecipeError(
                f"data.reductions {list(self.reductions)}: give positive numbers; [1.0] is the working spacing alone"
            )
        if self.across and min(self.across) < 1:
            raise RecipeError(f"data.across {list(self.across)}: numbers of tiles, each at least 1")
        if self.context < 1:
            raise RecipeError(f"data.context {self.context} must be at least 1")

    def working_spacing(self, rank: int = 2) -> Spacing:
        """The spacing of tiles."""
        values = _each(self.spacing)
        return Spacing(values * rank if len(values) == 1 else values, self.unit)

    def sides(self, rank: int = 2) -> tuple[int, ...]:
        """The shape of a training tile.

        Raises:
            RecipeError: `tile` gives another number of sides.
        """
        sides = _each(self.tile)
        if len(sides) not in (1, rank):
            raise RecipeError(f"data.tile {self.tile}: the images have {rank} axes; give one side, or {rank}")
        return sides * rank if len(sides) == 1 else sides


@dataclass(frozen=True)
class Recipe:
    """A whole system: what `train` does, and what `segment` repeats.

    Attributes:
        name: of the recipe file.
        about: one line for `malpighi recipes`.
        source: where its numbers come from.
        task: which machine configuration: "ftu", functional tissue units in 2-D images; "vessels", vessels in volumes;
            "instances", objects that touch, told apart, in 2-D images. Single cells from image-level labels have a recipe of
            another make: `recipes.cells.CellsRecipe`.
    """

    name: str = ""
    about: str = ""
    source: str = ""
    task: Literal["ftu", "vessels", "instances"] = "ftu"
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
    instances: InstanceOptions = field(default_factory=InstanceOptions)
    boxes: BoxOptions = field(default_factory=BoxOptions)
    cycle: CycleOptions = field(default_factory=CycleOptions)

    def __post_init__(self) -> None:
        if (self.task == "instances") != (self.instances.kind != "none"):
            raise RecipeError(
                f'task "{self.task}" with instances.kind "{self.instances.kind}": "instances" goes with "distance" or "flow", '
                'the other tasks with "none"'
            )
        require_fitting(self.task, self.model, self.predict, self.objects)
        require_loss_fits(self.loss, self.model)
        require_boxes_fit(self.boxes, self.task)
        require_sampling_fits(self.task, self.model.rank, self.data, self.sampling)
        self.optim.require_encoder(self.model.architecture not in WIDTHS)
