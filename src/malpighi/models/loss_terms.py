"""Names of a loss's terms → the functions that compute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from malpighi.models import loss_exclusive, loss_lovasz, loss_regions, loss_skeletons, loss_surfaces, loss_voxels
from malpighi.models.losses import LossOptions, Term


def make_term(name: str, options: LossOptions, spacing: Sequence[float] | None = None) -> Term:
    """The term `name` of `TERMS` with the numbers of `options`; for the spacing see `build_loss`."""
    smooth, prices, smoothing = options.smooth, (options.tversky_alpha, options.tversky_beta), options.smoothing
    made: dict[str, Callable[[], Term]] = {
        "bce": lambda: partial(loss_voxels.cross_entropy, smoothing=smoothing),
        "edge-bce": lambda: partial(loss_voxels.edge_cross_entropy, edge_weight=options.edge_weight, smoothing=smoothing),
        "focal": lambda: partial(loss_voxels.focal, gamma=options.focal_gamma, alpha=options.focal_alpha),
        "dice": lambda: partial(loss_regions.soft_dice, smooth=smooth),
        "tversky": lambda: partial(loss_regions.tversky, prices=prices, smooth=smooth),
        "focal-tversky": lambda: partial(loss_regions.tversky, prices=prices, smooth=smooth, power=0.75),
        "boundary-dou": lambda: loss_regions.boundary_dou,
        "boundary": lambda: partial(loss_surfaces.boundary, spacing=spacing),
        "surface": lambda: partial(loss_surfaces.surface, spacing=spacing, smooth=smooth),
        "cldice": lambda: partial(loss_skeletons.cl_dice, steps=options.skeleton_steps, smooth=smooth),
        "ce": lambda: partial(loss_exclusive.exclusive_cross_entropy, smoothing=smoothing),
        "jaccard": lambda: partial(loss_regions.jaccard, smooth=smooth),
        "lovasz": lambda: partial(loss_lovasz.lovasz_hinge, by_tile=options.lovasz_by_tile),
        "lovasz-softmax": lambda: loss_lovasz.lovasz_softmax,
    }
    return made[name]()
