"""Functional tissue units in slides: independent classes, thresholds by class, overlap scores."""

from __future__ import annotations

import numpy as np

from malpighi.metrics.overlap import count
from malpighi.models.losses import build_loss
from malpighi.recipes.recipe import Recipe
from malpighi.tasks.task import Task


def ftu_task(recipe: Recipe, classes: int) -> Task:
    """The task of a recipe for `classes` classes.

    Raises:
        RecipeError: thresholds or `loss.class_weights` for another number of classes.
    """
    limits = np.asarray(recipe.predict.limits(classes), np.float32)

    def decode(probabilities: np.ndarray) -> np.ndarray:
        return (probabilities >= limits.reshape(-1, *[1] * (probabilities.ndim - 1))).view(np.uint8)

    spacing = recipe.data.working_spacing(recipe.model.rank).values  # of a surface's area
    recipe.loss.require_classes(classes, recipe.model.exclusive)
    return Task(build_loss(recipe.loss, spacing, recipe.model.exclusive), decode, count)
