"""Instances from what a network predicts of every pixel: foreground and distance, or foreground and flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from malpighi.errors import RecipeError

LAYERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "distance": ("foreground", "distance"),
    "flow": ("foreground", "flow_y", "flow_x"),
}
"""What a network of each kind gives, all within 0 … 1: flow f is stored as (f + 1) / 2."""


@dataclass(frozen=True)
class InstanceOptions:
    """Whether and how a network tells objects that touch apart. Such a run has one class.

    Attributes:
        kind: "none": objects are connected components of masks; "distance": each pixel's distance from its object's border
            over the largest in the object; "flow": unit vectors that lead to the object's middle (Stringer et al. 2021).
        foreground: probability from which a pixel belongs to an object.
        seed: of "distance": how deep a saddle must be for two peaks to be two objects, 0 … 1.
        steps: of "flow": how many pixels a point may walk.
        halo: by how much blocks of a large image overlap, working pixels: at least the largest object's length.
    """

    kind: Literal["none", "distance", "flow"] = "none"
    foreground: float = 0.5
    seed: float = 0.1
    steps: int = 200
    halo: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.foreground < 1 or not 0 < self.seed < 1:
            raise RecipeError(f"instances.foreground {self.foreground} and seed {self.seed} lie between 0 and 1")
        if self.steps < 1 or self.halo < 0:
            raise RecipeError(f"instances.steps {self.steps} must be at least 1, instances.halo {self.halo} at least 0")

    @property
    def layers(self) -> tuple[str, ...]:
        """What the network gives; empty where it gives classes."""
        return LAYERS[self.kind]
