"""A detector beside the segmentation network: its options. Torch-free, so that recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError


@dataclass(frozen=True)
class BoxOptions:
    """A detector of whole objects, trained on the boxes around those of the masks, to mend what the segmentation broke.

    After kidney-35th of "HuBMAP: Hacking the Kidney" (2021): where box and mask disagree in area, the object is filled.

    Attributes:
        kind: "none", or a detector of `torchvision`: "fcos" or "retinanet".
        encoder: any `timm` model that gives feature maps.
        steps: optimiser steps.
        rate: highest learning rate.
        score: boxes the detector is less sure of are not used.
        agree: a box whose share of mask is less than this times that of the ellipse in it (π / 4) is filled by that ellipse.
        least: a box with a smaller share of mask is left alone: the detector alone says nothing.
    """

    kind: Literal["none", "fcos", "retinanet"] = "none"
    encoder: str = "resnet18"
    steps: int = 1000
    rate: float = 1e-3
    score: float = 0.5
    agree: float = 0.8
    least: float = 0.2

    def __post_init__(self) -> None:
        for name in ("score", "agree", "least"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"boxes.{name} {getattr(self, name)}: a share between 0 and 1")
        if self.steps < 1 or self.rate <= 0:
            raise RecipeError(f"boxes.steps {self.steps} and boxes.rate {self.rate}: both are more than 0")


def require_boxes_fit(options: BoxOptions, task: str, rank: int = 2) -> None:
    """Refuse a detector where it has nothing to do.

    Raises:
        RecipeError: masks are not of functional tissue units in images.
    """
    if options.kind == "none" or (task == "ftu" and rank == 2):
        return
    what = "volumes" if rank != 2 else f'task "{task}"'
    raise RecipeError(
        f'boxes.kind = "{options.kind}": a detector goes with the masks of task "ftu" in 2-D images, not with {what}; set '
        'boxes.kind = "none"'
    )
