"""Classifier: labels of an image as pooled maps of its classes, so that where it sees a label needs no computing afterwards."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from malpighi.models import consistency
from malpighi.models.attention import Cbam
from malpighi.models.classify import ClassifierOptions
from malpighi.models.encoders import map_encoder
from malpighi.models.network import Network
from malpighi.models.outputs import Outputs
from malpighi.models.pooling import pool_maps

Training = Callable[["Classifier", Tensor, Tensor | None], Outputs]
"""What `forward` does while the network trains, in place of `Classifier.plain`."""

CONSISTENCY: dict[str, Training] = {"puzzle": consistency.puzzle, "cutmix": consistency.cutmix}
"""By `ClassifierOptions.consistency`."""


class Classifier(Network):
    """Features, a 1 × 1 convolution to class maps, and their pooled values; rank 2.

    Sides of the input need not be multiples of `stride`: it is filled up with 0 below and on the right, and what was filled
    up counts nowhere in the pooling. The maps cover the filled-up input: `ceil(side / stride)` places (fewer where an
    encoder does not pad).

    Attributes:
        origin: pixel, along either axis, on which place 0 of the maps is centred; place n lies n strides farther.
        masked: whether it was made for masks, see `forward`.
        training_step: what `forward` does in training instead of `plain`; None: the same.
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: int,
        in_channels: int,
        classes: int,
        options: ClassifierOptions,
        origin: float | None = None,
    ) -> None:
        super().__init__(in_channels, classes, (options.stride, options.stride))
        self.encoder = encoder
        self.attention = Cbam(channels) if options.attention == "cbam" else nn.Identity()
        self.dropout = nn.Dropout2d(options.dropout) if options.dropout else nn.Identity()
        self.head = nn.Conv2d(channels, classes, 1)
        self.origin = (options.stride - 1) / 2 if origin is None else origin
        self.pooling = options.pooling
        self.masked = options.masked
        self.training_step = CONSISTENCY.get(options.consistency)

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Outputs:
        """Class maps and image logits.

        Args:
            x: (batch, in_channels, y, x). A network made for masks also takes them as one more, last channel, so that
                what augments and batches images need not know of them.
            masks: (batch, 1, y, x) in 0 … 1; only places inside are pooled. Empty: all places.

        Returns:
            logits: (batch, class, coarse y, x) class maps: the logit that an image would have that is everywhere as here.
            image_logits: (batch, class) float32, pooled maps.
            deep: two maps that shall agree, in training with a consistency term; then `image_logits` may have a multiple
                of the batch's rows, see `consistency.puzzle`.

        Raises:
            ValueError: another number of axes or channels.
        """
        if masks is None and self.masked and x.ndim == 4 and x.shape[1] == self.in_channels + 1:
            x, masks = x[:, :-1], x[:, -1:]
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"input of shape {tuple(x.shape)}: this network takes (batch, {self.in_channels}, y, x)")
        if self.training and self.training_step is not None:
            return self.training_step(self, x, masks)
        return self.plain(x, masks)

    def plain(self, x: Tensor, masks: Tensor | None = None) -> Outputs:
        """As `forward` outside of training."""
        x, masks = self.fitted(x, masks)
        maps = self.maps(x)
        return Outputs(maps, image_logits=self.pool(maps, masks))

    def fitted(self, x: Tensor, masks: Tensor | None, parts: int = 1) -> tuple[Tensor, Tensor | None]:
        """`x` filled up to multiples of `parts` strides, and masks that leave out what was filled up."""
        down, right = (-x.shape[2] % (parts * self.stride[0])), (-x.shape[3] % (parts * self.stride[1]))
        if not down and not right:
            return x, masks
        masks = torch.ones_like(x[:, :1]) if masks is None else masks
        return functional.pad(x, (0, right, 0, down)), functional.pad(masks, (0, right, 0, down))

    def features(self, x: Tensor) -> Tensor:
        """(batch, channel, coarse y, x): what the class maps are a linear function of."""
        return self.attention(self.encoder(x))

    def maps(self, x: Tensor) -> Tensor:
        """Class maps of `x`, whose sides are multiples of `stride`."""
        return self.head(self.dropout(self.features(x)))

    def pool(self, maps: Tensor, masks: Tensor | None = None) -> Tensor:
        """Image logits of class maps."""
        return pool_maps(maps, masks, self.pooling)


def build_classifier(options: ClassifierOptions, in_channels: int, classes: int) -> Classifier:
    """The classifier of `options`.

    Args:
        in_channels: of the image.
        classes: output logits; independent, unless the loss is "ce".

    Raises:
        RecipeError: no such encoder, one without feature maps, or not at `options.stride`.
        DependencyError: `pretrained = "required"` and the weights cannot be had.
    """
    encoder, channels, origin = map_encoder(options.encoder, options.pretrained, in_channels, options.stride)
    return Classifier(encoder, channels, in_channels, classes, options, origin)
