"""Where in the image the first place of a feature map lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

STEPS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
"""Layers by which maps become smaller."""


class Footprint:
    """Follows an encoder's layers that make maps smaller, and adds up how far each looks beside the corner.

    A 3 × 3 convolution of stride 2 that pads by 1 looks at pixels 0, 2, 4, …; one of 2 × 2 that pads by 0 between 0 and 1, 2
    and 3, …. After five of the first kind, as in ResNets, place n of the map lies at pixel 32·n; after five of the second, as
    in ConvNeXt, at 32·n + 15.5, the middle of its share of the image. A map drawn as if it were the other is off by half a
    stride. Branches side by side count alike: a ResNet-D's 3 × 3 convolutions and the 2 × 2 means of its shortcuts.
    """

    def __init__(self) -> None:
        self._branches: dict[int, tuple[int, list[float]]] = {}  # by side before: stride, offset of each branch

    @contextmanager
    def following(self, encoder: nn.Module) -> Iterator[Footprint]:
        """While the encoder sees one square image."""
        hooks = [layer.register_forward_hook(self._seen) for layer in encoder.modules() if isinstance(layer, STEPS)]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _seen(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = int(inputs[0].shape[2]), int(output.shape[2])
        kernel, stride = _first(layer.kernel_size), _first(layer.stride)
        if before == after:
            return
        reach = (kernel - 1) * _first(getattr(layer, "dilation", 1))
        if "Same" in type(layer).__name__:  # of timm: it pads as TensorFlow does, by what is needed, less before than after
            padding = max(0, (after - 1) * stride + reach + 1 - before) // 2
        else:
            padding = _first(layer.padding)
        self._branches.setdefault(before, (stride, []))[1].append(reach / 2 - padding)

    @property
    def origin(self) -> float:
        """Pixel, along either axis, on which place 0 of the map is centred; pixel n is centred on n."""
        origin, jump = 0.0, 1
        for before in sorted(self._branches, reverse=True):
            stride, offsets = self._branches[before]
            origin, jump = origin + sum(offsets) / len(offsets) * jump, jump * stride
        return origin


def _first(value: object) -> int:
    return int(value[0]) if isinstance(value, tuple) else int(value)  # type: ignore[call-overload]
