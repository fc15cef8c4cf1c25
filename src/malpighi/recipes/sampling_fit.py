"""What `data` and `sampling` ask for, against the network and the task: an option that would do nothing is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from malpighi.errors import RecipeError

if TYPE_CHECKING:
    from malpighi.models.build import ModelOptions
    from malpighi.recipes.recipe import DataOptions
    from malpighi.sampling.boxes import SamplerOptions


def require_sampling_fits(task: str, rank: int, data: DataOptions, sampling: SamplerOptions) -> None:
    """Refuse options of what is drawn that do not go with the task, or with images of `rank` axes.

    Raises:
        RecipeError: says which, and what to do.
    """
    if data.across and tuple(data.reductions) != (1.0,):
        raise RecipeError(
            f"data.across {list(data.across)} and data.reductions {list(data.reductions)}: both say at which scales tiles are "
            "drawn; leave one of them out"
        )
    if rank == 3:
        for key, value, plain in (
            ("data.reductions", list(data.reductions), [1.0]),
            ("data.across", list(data.across), []),
            ("sampling.least_std", sampling.least_std, 0.0),
            ("sampling.least_saturation", sampling.least_saturation, 0.0),
        ):
            if value != plain:
                raise RecipeError(f"{key} = {value}: of images of two axes only; for volumes leave it at {plain}")
    if task == "instances" and sampling.hard:
        raise RecipeError(
            f"sampling.hard = {sampling.hard}: hard boxes are found by what a network takes for a class, and one that tells "
            "objects apart gives distances; set sampling.hard = 0"
        )


def require_told(model: ModelOptions, told: dict[str, tuple[str, ...]]) -> None:
    """Refuse heads for attributes that the images to train on do not have.

    Args:
        told: attribute → its values among them.

    Raises:
        RecipeError: one has no value.
    """
    for name, values in told.items():
        if not values:
            raise RecipeError(
                f"model.tells {list(model.tells)}: no image to train on says its {name!r}; give manifest.csv a column of this "
                "name, or leave it out"
            )
