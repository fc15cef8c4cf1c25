"""An annotation in memory, for tests of what goes through one."""

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.geometry import Box, Space, Spacing


class Drawn(Annotation):
    """Layers held in memory; remembers what was asked for."""

    def __init__(self, layers: np.ndarray, classes: tuple[str, ...]) -> None:
        super().__init__("drawn", Space.of_shape(layers.shape[1:]), classes)
        self.layers, self.asked = layers, []

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        self.asked.append(box)
        return self.layers[(slice(None), *box.slices)]
