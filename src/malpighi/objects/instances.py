"""Instances from what a network predicts of every pixel: foreground and distance, or foreground and flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from malpighi.errors import DataError, RecipeError

if TYPE_CHECKING:
    import numpy as np

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
        seed: of "distance": how deep a saddle must be for two peaks to be two objects, 0 … 1; 0.15 parted nuclei better than 0.1.
        steps: of "flow": how many pixels a point may walk.
        halo: by how much blocks of a large image overlap, working pixels: at least the largest object's length.
    """

    kind: Literal["none", "distance", "flow"] = "none"
    foreground: float = 0.5
    seed: float = 0.15
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


SMOOTHED = 1.0
"""Standard deviation in pixels of the Gaussian that takes the grain off a predicted distance before its peaks are counted."""


def decode(layers: np.ndarray, options: InstanceOptions) -> np.ndarray:
    """Objects from the layers that a network gives. The same layers give the same numbers, on any machine.

    "distance": hills of the distance within the foreground (`flood.hills`). "flow": pixels that walk to one place
    (`follow.follow`). Either way every connected piece of foreground holds at least one object; leave small ones out afterwards.

    Args:
        layers: (layer, y, x) float, 0 … 1, in the order of `options.layers`; NaN where nothing was predicted: background.
        options: which kind, from which probability on, and so forth.

    Returns:
        (y, x) int32, 1 … n without gaps in order of the objects' first pixels; 0 in the background.

    Raises:
        DataError: the layers are not those of this kind.
        ValueError: the options are of no kind.
    """
    import numpy as np

    if options.kind == "none":
        raise ValueError('instances of kind "none" have nothing to decode; their objects are connected components of the mask')
    if layers.ndim != 3 or len(layers) != len(options.layers):
        raise DataError(f"layers of shape {layers.shape}: {options.kind!r} needs {' '.join(options.layers)}, then y and x")
    if layers.size == 0:
        return np.zeros(layers.shape[1:], np.int32)
    foreground = layers[0] >= options.foreground
    if options.kind == "flow":
        from malpighi.objects.follow import follow

        return follow(2 * layers[1:].astype(np.float32) - 1, foreground, options.steps)

    import cv2

    from malpighi.objects.flood import hills

    known = np.nan_to_num(layers[1].astype(np.float32))
    return hills(cv2.GaussianBlur(known, (0, 0), SMOOTHED), foreground, options.seed)
