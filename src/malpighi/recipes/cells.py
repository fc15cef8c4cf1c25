"""CellsRecipe: single cells from image-level labels, a section a stage in the order in which they run. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from malpighi.errors import RecipeError
from malpighi.inference.fuse import FuseOptions
from malpighi.inference.maps import MapOptions
from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.objects.cells import CellOptions
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.intensity import IntensityOptions
from malpighi.sampling.pseudo_cells import PseudoCellOptions
from malpighi.training.options import OptimOptions, TrainOptions


@dataclass(frozen=True)
class CellDataOptions:
    """Which images, and at which size they and their cells are shown to networks.

    Attributes:
        classes: the labels, in this order; empty: every label of the data set.
        folds: grouped folds that share out each label alike.
        fold: which of them is held out, from 0.
        side: images are brought to so many pixels along their longer side, and the shorter is filled up with 0.
        crop: side of a cell's crop, in pixels.
        margin: a crop is the square around a cell's box, this much longer on every side (share of its side).
        masked: what is outside of the cell is 0 in its crop.
        crop_span: crops show so many level-0 pixels whatever the cell's size, so that sizes can be compared; 0: the box.
    """

    classes: tuple[str, ...] = ()
    folds: int = 5
    fold: int = 0
    side: int = 512
    crop: int = 128
    margin: float = 0.05
    masked: bool = True
    crop_span: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise RecipeError(f"data.fold {self.fold} of data.folds {self.folds}: at least 2 folds, one of them is held out")
        if self.side < 32 or self.crop < 16:
            raise RecipeError(f"data.side {self.side} is at least 32, data.crop {self.crop} at least 16")
        if self.margin < 0 or self.crop_span < 0:
            raise RecipeError(f"data.margin {self.margin} and data.crop_span {self.crop_span}: give 0 or more")


@dataclass(frozen=True)
class ChannelOptions:
    """The channels by name, in the order in which networks take them.

    Attributes:
        names: as the files are named (`ID_red.png`) or as the image names them; an image without names has them in order.
        nucleus: the channel that shows nuclei.
        cell: channels that show how far a cell reaches; their mean is taken.
        protein: the channel whose pattern the labels name.
        missing: what an image that lacks a channel does: "error", or "zero": it is 0 there, and that is said.
    """

    names: tuple[str, ...] = ("red", "green", "blue", "yellow")
    nucleus: str = "blue"
    cell: tuple[str, ...] = ("red", "yellow")
    protein: str = "green"
    missing: Literal["error", "zero"] = "error"

    def __post_init__(self) -> None:
        unknown = [name for name in (self.nucleus, *self.cell, self.protein) if name not in self.names]
        if unknown:
            raise RecipeError(f"channels: {', '.join(unknown)} is not among channels.names {list(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise RecipeError(f"channels.names {list(self.names)}: give each once")


@dataclass(frozen=True)
class StageOptions:
    """One classifier and its training.

    Attributes:
        balance: how far rare labels are drawn more often: 0 as they come, 1 all labels alike.
        flips: its scores are the mean over so many mirrored and turned views: 1, 4 or 8.
    """

    model: ClassifierOptions = field(default_factory=ClassifierOptions)
    loss: LabelLossOptions = field(default_factory=LabelLossOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    balance: float = 0.5
    flips: Literal[1, 4, 8] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.balance <= 1:
            raise RecipeError(f"balance {self.balance}: from 0 (as they come) to 1 (all labels alike)")
        for name in ("clahe", "transfer", "match", "blend", "cutmix", "mixup"):
            if getattr(self.augment, name):
                raise RecipeError(
                    f"augment.{name} = {getattr(self.augment, name)} is for stained tissue, not for cells' channels; set it to 0"
                )
        if self.augment.cutout and self.augment.cutout_fill == "white":
            raise RecipeError("augment.cutout_fill = 'white': fluorescence has no glass; use 'black' or 'mean'")


@dataclass(frozen=True)
class CycleOptions:
    """How often the stages are repeated.

    Attributes:
        most: cycles at most; in the second and further ones cells are labelled by the cell classifier and the maps together.
        gain: the cycle ends where held-out images do not gain at least this much mAP, and the best cycle is kept.
    """

    most: int = 3
    gain: float = 0.002

    def __post_init__(self) -> None:
        if self.most < 1:
            raise RecipeError(f"cycle.most {self.most}: at least 1")


@dataclass(frozen=True)
class CellsRecipe:
    """Single cells from image-level labels: what `cycle --task cells` does, and what `segment` repeats.

    Attributes:
        name: of the recipe file.
        about: one line for `malpighi recipes`.
        source: where its numbers come from.
        image: stage 1, the classifier of whole images.
        maps: stage 2, where it sees each label.
        pseudo: stage 3, which cells get which label.
        cell: stage 4, the classifier of cells, started from stage 1's weights where the encoder is the same.
        fuse: how scores of cells and images are joined.
    """

    name: str = ""
    about: str = ""
    source: str = ""
    task: Literal["cells"] = "cells"
    data: CellDataOptions = field(default_factory=CellDataOptions)
    channels: ChannelOptions = field(default_factory=ChannelOptions)
    cells: CellOptions = field(default_factory=CellOptions)
    intensity: IntensityOptions = field(default_factory=IntensityOptions)
    image: StageOptions = field(default_factory=StageOptions)
    maps: MapOptions = field(default_factory=MapOptions)
    pseudo: PseudoCellOptions = field(default_factory=PseudoCellOptions)
    cell: StageOptions = field(default_factory=StageOptions)
    fuse: FuseOptions = field(default_factory=FuseOptions)
    cycle: CycleOptions = field(default_factory=CycleOptions)
