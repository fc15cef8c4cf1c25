"""A recipe's [image.model] and [cell.model] → classifier; and what its loss may be. Torch is imported when one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError
from malpighi.models.build import Pretrained


@dataclass(frozen=True)
class ClassifierOptions:
    """Which classifier: an encoder, maps of the classes from its last features, and how maps become scores.

    Attributes:
        encoder: any `timm` model that gives feature maps.
        pretrained: as in `ModelOptions`; the first layer is adapted to any number of channels.
        stride: of the class maps: 16 leaves out the encoder's last halving where it can be; 32 is usual.
        attention: "cbam" weighs channels and places of the last features (Woo et al. 2018).
        pooling: maps → score: "average", "average+max" (half and half), or "lse" (log-mean-exp).
        masked: "gap-mask": only what lies in cells is pooled, cell by cell where cells are asked for.
        consistency: of class maps in training: "puzzle" (whole and 2 × 2 parts agree, Jo & Yu 2021), "cutmix" (the map of a
            mixed image is the mix of maps), or "none".
        consistency_weight: of that term beside the loss.
        dropout: share of features dropped before the class maps.
    """

    encoder: str = "resnet18"
    pretrained: Pretrained = "preferred"
    stride: Literal[16, 32] = 32
    attention: Literal["none", "cbam"] = "none"
    pooling: Literal["average", "average+max", "lse"] = "average"
    masked: bool = False
    consistency: Literal["none", "puzzle", "cutmix"] = "none"
    consistency_weight: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"model.dropout {self.dropout}: a share from 0 to below 1")
        if self.consistency_weight < 0:
            raise RecipeError(f"model.consistency_weight {self.consistency_weight}: give 0 or more")


@dataclass(frozen=True)
class LabelLossOptions:
    """How wrong labels cost.

    Attributes:
        name: "bce"; "focal" (Lin et al. 2017); "asymmetric" (Ridnik et al. 2021), for many absent labels; or "ce": one label of
            all, of a softmax.
        gamma: of "focal"; of "asymmetric" that of absent labels.
        smoothing: labels are moved this much towards 1/2 (ce: towards all alike).
        balanced: rare labels weigh more: by (mean count / count) to the half, of the training set.
    """

    name: Literal["bce", "focal", "asymmetric", "ce"] = "bce"
    gamma: float = 2.0
    smoothing: float = 0.0
    balanced: bool = False

    def __post_init__(self) -> None:
        if self.gamma < 0 or not 0 <= self.smoothing < 1:
            raise RecipeError(f"loss.gamma {self.gamma} is 0 or more, loss.smoothing {self.smoothing} from 0 to below 1")
