"""Heads beside the one that gives the logits: of coarser features while training, and of the tile as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from malpighi.errors import RecipeError

PIXEL_SIZE = "pixel_size"


class DeepHeads(nn.Module):
    """Logits of coarser features at the resolution of the network's own, for deep supervision: a 1 × 1 convolution each."""

    def __init__(self, widths: Sequence[int], logits: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(width, logits, 1) for width in widths)

    def forward(self, stages: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, ...]:
        """Logits of as many `stages` as there are heads, brought to `size`."""
        return tuple(_brought(head(stage), size) for head, stage in zip(self.heads, stages, strict=True))


class FcnHead(nn.Module):
    """Logits straight from features of the encoder (Zhao et al. 2017), which learn the classes without the decoder's help."""

    def __init__(self, channels: int, logits: int, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.layers = nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout2d(dropout), nn.Conv2d(width, logits, 1))

    def forward(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Logits of `features`, (batch, channels, y, x), brought to `size`."""
        return _brought(self.layers(features), size)


class TileHeads(nn.Module):
    """What is told of each tile as a whole: a linear layer of the mean of the encoder's last features, by name.

    Attributes:
        names: of the heads, in order.
    """

    def __init__(self, channels: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.names = tuple(sizes)
        self.heads = nn.ModuleList(nn.Linear(channels, size) for size in sizes.values())  # names may be what a module's may not

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Name → (batch, size) of `features`, (batch, channels, y, x)."""
        seen = features.mean((2, 3))
        return {name: head(seen) for name, head in zip(self.names, self.heads, strict=True)}


def told_sizes(tile_class: bool, tells: Sequence[str], classes: int, values: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many numbers each head of the tile gives, by its name in `Outputs.told`.

    Raises:
        RecipeError: an attribute has no values to tell apart.
    """
    sizes = {"tile": classes} if tile_class else {}
    for name in tells:
        sizes[name] = 1 if name == PIXEL_SIZE else len(values.get(name, ()))
        if not sizes[name]:
            raise RecipeError(
                f"model.tells {name!r}: no case says its {name}; give manifest.csv a column of this name, or leave it out of "
                "model.tells"
            )
    return sizes


def _brought(logits: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
