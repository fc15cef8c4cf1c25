"""Where a protein lies in a cell: a pattern for each of fourteen of the Human Protein Atlas's nineteen classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from malpighi.phantoms.cell_layout import Site
from malpighi.phantoms.cell_shapes import Shapes
from malpighi.phantoms.cell_structures import Structures
from malpighi.phantoms.cell_texture import spots, worms

HPA_CLASSES = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles and punctate cytosolic patterns",
    "Negative",
)
"""The classes of the Single Cell Classification competition (2021); a class's place is its number."""
NEGATIVE = "Negative"


@dataclass(frozen=True, eq=False)
class View:
    """One cell in its window: fields (y, x) of `Shapes` and `Structures`, 0 where the cell is not."""

    site: Site
    corner: tuple[int, int]
    centrosome: tuple[float, float]
    unit: float
    inside: np.ndarray
    rho: np.ndarray
    edge: np.ndarray
    away: np.ndarray
    nucleus: np.ndarray
    thickness: np.ndarray
    nucleoli: np.ndarray
    microtubules: np.ndarray
    reticulum: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray

    @classmethod
    def of(cls, shapes: Shapes, made: Structures, site: Site, number: int) -> View:
        """The view of cell `number`."""
        at = shapes.windows[number - 1]
        inside = shapes.labels[at] == number
        corner = (at[0].start, at[1].start)
        here = made.centrosomes[number - 1]
        return cls(
            site=site,
            corner=corner,
            centrosome=(float(here[0]) - corner[0], float(here[1]) - corner[1]),
            unit=made.unit,
            inside=inside,
            rho=shapes.rho[at],
            edge=shapes.edge[at] * inside,
            away=shapes.away[at] * inside,
            nucleus=made.nucleus[at] * inside,
            thickness=made.thickness[at] * inside,
            nucleoli=made.nucleoli[at] * inside,
            microtubules=made.microtubules[at] * inside,
            reticulum=made.reticulum[at] * inside,
            fine=made.fine[at],
            coarse=made.coarse[at],
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) of the window."""
        return self.inside.shape[0], self.inside.shape[1]

    @property
    def cytoplasm(self) -> np.ndarray:
        """1 in the cell outside of its nucleus."""
        return self.inside * (1 - self.nucleus)

    def crowd(self, least: int, most: int, rng: np.random.Generator) -> int:
        """How many organelles: between two numbers in a usual cell, fewer where there is less cytoplasm."""
        room = float(self.cytoplasm.sum()) / (5000 * self.unit**2)
        return max(8, round(rng.uniform(least, most) * min(room, 1.4)))

    def points(self, density: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` places (y, x), in window px, drawn from a density; fewer where it is 0 everywhere."""
        total = np.cumsum(density.ravel(), dtype=np.float64)
        if total[-1] <= 0:
            return np.zeros(0), np.zeros(0)
        at = np.searchsorted(total, rng.random(count) * total[-1], side="right")
        y, x = np.divmod(np.minimum(at, total.size - 1), self.shape[1])
        return y + rng.uniform(-0.5, 0.5, count), x + rng.uniform(-0.5, 0.5, count)


Pattern = Callable[[View, np.random.Generator], np.ndarray]


def nucleoplasm(view: View, rng: np.random.Generator) -> np.ndarray:
    """Grainy all over the nucleus, weak in nucleoli."""
    return view.nucleus * (0.8 + 0.1 * view.fine + 0.08 * view.coarse) * (1 - 0.75 * view.nucleoli)


def nuclear_membrane(view: View, rng: np.random.Generator) -> np.ndarray:
    """A thin rim around the nucleus."""
    far = (1 - view.rho) * view.site.nucleus_radius / view.unit
    return np.exp(-(((far - 0.8) / 1.9) ** 2)) * (0.95 + 0.15 * view.coarse) + 0.12 * view.nucleus


def nucleoli(view: View, rng: np.random.Generator) -> np.ndarray:
    """The bodies that are dark in the nucleus's own stain."""
    return view.nucleoli * (0.95 + 0.08 * view.fine) + 0.12 * view.nucleus


def nuclear_speckles(view: View, rng: np.random.Generator) -> np.ndarray:
    """Twenty or so blurred spots in the nucleus, none in nucleoli."""
    density = view.nucleus * (view.rho < 0.88) * (1 - view.nucleoli)
    y, x = view.points(density, int(rng.integers(16, 32)), rng)
    large = spots(view.shape, y, x, 1.9 * view.unit, rng.uniform(0.5, 1.1, len(y)))
    return np.minimum(large, 1.2) * view.nucleus + 0.14 * view.nucleus


def nuclear_bodies(view: View, rng: np.random.Generator) -> np.ndarray:
    """Two to five small, bright, sharp spots in the nucleus."""
    density = view.nucleus * (view.rho < 0.8) * (1 - view.nucleoli)
    y, x = view.points(density, int(rng.integers(2, 6)), rng)
    return 1.5 * spots(view.shape, y, x, 1.5 * view.unit) * view.nucleus + 0.07 * view.nucleus


def endoplasmic_reticulum(view: View, rng: np.random.Generator) -> np.ndarray:
    """As the yellow channel: a net that fades from the nucleus outwards."""
    return 1.25 * view.reticulum


def golgi(view: View, rng: np.random.Generator) -> np.ndarray:
    """A compact heap of ribbons beside the nucleus, at the centrosome."""
    y, x = np.mgrid[: view.shape[0], : view.shape[1]].astype(np.float32)
    far = np.hypot(y - view.centrosome[0], x - view.centrosome[1]) / view.unit
    # it lies along the nucleus, not away from it
    density = np.exp(-((far / 10) ** 2)) * np.exp(-((view.away / (7 * view.unit)) ** 2)) * view.cytoplasm
    py, px = view.points(density, int(rng.integers(14, 26)), rng)
    length = rng.uniform(3, 9, len(py)) * view.unit
    ribbons = worms(view.shape, py, px, rng.uniform(0, 2 * np.pi, len(py)), length, 1.3 * view.unit, rng)
    return np.minimum(ribbons, 1.5) * (1 - 0.7 * view.nucleus) * view.inside


def microtubules(view: View, rng: np.random.Generator) -> np.ndarray:
    """As the red channel."""
    return 1.1 * view.microtubules


def centrosome(view: View, rng: np.random.Generator) -> np.ndarray:
    """One or two points beside the nucleus."""
    turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 2.4) * view.unit
    y = np.array([view.centrosome[0], view.centrosome[0] + far * np.sin(turn)])
    x = np.array([view.centrosome[1], view.centrosome[1] + far * np.cos(turn)])
    pair = rng.random() < 0.6
    return 1.5 * spots(view.shape, y[: 1 + pair], x[: 1 + pair], 1.3 * view.unit) * view.inside


def plasma_membrane(view: View, rng: np.random.Generator) -> np.ndarray:
    """A line along the cell's border, patchy, with short fringes."""
    line = np.exp(-((view.edge / (2.2 * view.unit)) ** 2)) * np.clip(0.85 + 0.3 * view.coarse, 0.2, 1.4)
    y, x = view.points(view.inside * np.exp(-view.edge / (3 * view.unit)), 70, rng)
    fringes = worms(view.shape, y, x, rng.uniform(0, 2 * np.pi, len(y)), rng.uniform(2, 6, len(y)) * view.unit, view.unit, rng)
    return (line + 0.5 * np.minimum(fringes, 1) * (view.edge < 9 * view.unit) + 0.1 * view.thickness) * view.inside


def mitochondria(view: View, rng: np.random.Generator) -> np.ndarray:
    """Short worms in the cytoplasm, many around the nucleus and few far out."""
    density = view.cytoplasm * np.exp(-view.away / (14 * view.unit)) * (view.edge > 3 * view.unit)
    y, x = view.points(density, view.crowd(80, 120, rng), rng)
    # along the cell: at right angles to the way to the nucleus, more or less
    out = np.arctan2(y - (view.site.center[0] - view.corner[0]), x - (view.site.center[1] - view.corner[1]))
    angle = out + np.pi / 2 + rng.normal(0, 0.7, len(y))
    threads = worms(view.shape, y, x, angle, rng.uniform(4, 13, len(y)) * view.unit, 0.95 * view.unit, rng)
    return np.minimum(threads, 1.3) * (1 - 0.85 * view.nucleus) * view.inside


def cytosol(view: View, rng: np.random.Generator) -> np.ndarray:
    """Even all over the cell but for its nucleus, thinning out towards the border."""
    return view.cytoplasm * view.thickness * (0.62 + 0.05 * view.fine) + 0.12 * view.nucleus


def vesicles(view: View, rng: np.random.Generator) -> np.ndarray:
    """Many small round points all over the cytoplasm."""
    density = view.cytoplasm * (view.edge > 2 * view.unit) * np.exp(-view.away / (45 * view.unit))
    y, x = view.points(density, view.crowd(70, 120, rng), rng)
    return np.minimum(spots(view.shape, y, x, 1.15 * view.unit, rng.uniform(0.5, 1.2, len(y))), 1.4) * view.inside


def negative(view: View, rng: np.random.Generator) -> np.ndarray:
    """Nothing that is the protein's own."""
    return np.zeros(view.shape, np.float32)


DRAWN: dict[str, Pattern] = {
    "Nucleoplasm": nucleoplasm,
    "Nuclear membrane": nuclear_membrane,
    "Nucleoli": nucleoli,
    "Nuclear speckles": nuclear_speckles,
    "Nuclear bodies": nuclear_bodies,
    "Endoplasmic reticulum": endoplasmic_reticulum,
    "Golgi apparatus": golgi,
    "Microtubules": microtubules,
    "Centrosome": centrosome,
    "Plasma membrane": plasma_membrane,
    "Mitochondria": mitochondria,
    "Cytosol": cytosol,
    "Vesicles and punctate cytosolic patterns": vesicles,
    NEGATIVE: negative,
}
PATTERNS = tuple(DRAWN)
"""The classes that can be drawn, in the order of `HPA_CLASSES`."""


def haze(view: View, rng: np.random.Generator) -> np.ndarray:
    """What an antibody binds to though it should not: weak, uneven, another share in each nucleus."""
    body = view.thickness * rng.uniform(0.5, 1.2) * view.cytoplasm * (1 + 0.18 * view.coarse)
    grain = cv2.GaussianBlur(view.fine, (0, 0), max(0.5, 0.6 * view.unit))
    return (body + view.nucleus * rng.uniform(0.3, 1.2)) * (1 + 0.3 * grain) * view.inside
