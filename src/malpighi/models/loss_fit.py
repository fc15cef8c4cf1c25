"""Does a recipe's [loss] go with its [model]? Torch-free."""

from __future__ import annotations

from malpighi.errors import RecipeError
from malpighi.models.build import ModelOptions
from malpighi.models.losses import EXCLUSIVE, LossOptions


def require_loss_fits(loss: LossOptions, model: ModelOptions) -> None:
    """Stop at a loss that does not go with a network.

    Raises:
        RecipeError: a term of exclusive classes for others, or weights of heads that the network lacks.
    """
    needed = sorted(EXCLUSIVE & {name for _, name in loss.terms})
    if needed and not model.exclusive:
        raise RecipeError(
            f'loss.name {loss.name!r}: "{needed[0]}" is for classes that exclude one another; set model.exclusive = true, '
            "or choose another term"
        )
    # DynUNet (dynunet) has deep outputs of its own
    if (loss.deep_weight >= 0 or loss.deep_filled) and not (model.deep or model.auxiliary or model.architecture == "dynunet"):
        raise RecipeError(
            f"loss.deep_weight {loss.deep_weight}, deep_filled {str(loss.deep_filled).lower()}: the network has no "
            "deep-supervision heads; set model.deep or model.auxiliary, or leave them out"
        )
    if loss.tile_weight != LossOptions.tile_weight and not model.tile_class:
        raise RecipeError(f"loss.tile_weight {loss.tile_weight}: the network has no such head; set model.tile_class = true")
    if loss.tells_weight != LossOptions.tells_weight and not model.tells:
        raise RecipeError(f"loss.tells_weight {loss.tells_weight}: the network tells nothing; set model.tells, or leave it out")
