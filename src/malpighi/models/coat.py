"""CoaT of timm (Xu et al. 2021), made to take images of any size and to be kept in a file of weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def adapt_coat(encoder: nn.Module) -> None:
    """Change an encoder that holds a `timm` CoaT, in place.

    Its positions are convolutions, so that any image would do, but it takes the shapes of its maps from what its patch
    embeddings remember of the one image that it was made for. Its blocks share these convolutions, and its scales some layers,
    which neither a file of weights nor a running average of them can hold under several names: here each has its own, alike
    at first.
    """
    from timm.models.coat import CoaT

    net: Any = next(module for module in encoder.modules() if isinstance(module, CoaT))
    for module in net.modules():
        if hasattr(module, "strict_img_size"):
            module.strict_img_size = False
            module.register_forward_pre_hook(_fit_grid)
    _part(net)
    for scale in range(1, 5):
        setattr(net, f"crpe{scale}", None)
        if scale == 1 or net.parallel_blocks is None:  # the network itself calls the others between parallel blocks
            setattr(net, f"cpe{scale}", None)


def _fit_grid(embed: Any, inputs: tuple[Tensor, ...]) -> None:
    embed.grid_size = tuple(side // step for side, step in zip(inputs[0].shape[2:], embed.patch_size, strict=True))


def _part(net: nn.Module) -> None:
    """Give every module that has several parents to each as a copy."""
    seen: set[nn.Module] = set()
    for parent in list(net.modules()):
        for name, child in list(parent._modules.items()):  # `named_children` leaves out a child's second name
            if child in seen:
                setattr(parent, name, copy.deepcopy(child))
            elif child is not None:
                seen.add(child)
