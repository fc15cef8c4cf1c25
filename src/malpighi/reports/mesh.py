"""Surfaces of truth, prediction and difference, small enough for a page, and the page's 3-D view of them."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numba import njit

from malpighi.geometry import Box, Space, Spacing
from malpighi.images.reduce import halve, halved_axes
from malpighi.reports.volume import (
    AGREED,
    COLORS,
    EXCESS,
    MISSED,
    NAMES,
    Masks,
    check,
    pieces,
    read_codes,
    view_spacing,
)
from malpighi.reports.words import value_text

VOXELS = 1 << 23
"""Voxels of the grid that surfaces are found on."""
MARGIN = 4
READ = 1 << 30
"""Voxels of the masks that are looked at; of larger volumes every 2nd, 3rd, … along each axis."""
TRIANGLES = 400_000
"""Of all surfaces of a view together: about 3.5 MB of page."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes:
        vertices: (n, 3) float32, (z, y, x) in the unit of `spacing`, from the volume's corner.
        faces: (m, 3) int32, indices of vertices; seen from outside they turn so that `_signed` is positive.
        found: triangles before anything was made coarser.
        moved: root mean square distance that decimation moved vertices, same unit.
        outside: share of the mask that lies outside the surface before decimation: what is thinner than the grid can show.
        cell: spacing of the grid that the surface was found on.
    """

    vertices: np.ndarray
    faces: np.ndarray
    found: int
    moved: float
    outside: float
    cell: Spacing

    @property
    def volume(self) -> float:
        """What it encloses."""
        return enclosed(self.vertices, self.faces)


@dataclass(frozen=True)
class Occupancy:
    """How much of every cell of a coarse grid is right, missed and too much.

    Attributes:
        shares: code → (z, y, x) float32 in 0 … 1, for `AGREED`, `MISSED`, `EXCESS`.
        spacing: of the cells.
        step: of the masks' voxels, every how many-th was looked at, along each axis.
    """

    shares: Mapping[int, np.ndarray]
    spacing: Spacing
    step: int


def occupancy(masks: Masks, space: Space, voxels: int = VOXELS, read: int = READ) -> Occupancy:
    """Count codes in every cell of a grid of at most `voxels` cells, in one pass over the masks, piece by piece.

    Raises:
        DataError: the image is no volume, or masks have other names than "truth" and "prediction".
    """
    check(space, masks)
    step = max(1, math.ceil((math.prod(space.shape) / read) ** (1 / 3)))
    looked = space.spacing.times(step)
    shape = space.shape_at(looked)
    wanted = view_spacing(Space.of_shape(shape, looked), voxels, 1 << 30)
    factor = tuple(max(1, math.ceil(r - 1e-3)) for r in wanted.over(looked))
    cells = tuple(-(-n // f) for n, f in zip(shape, factor, strict=True))
    counts = np.zeros((3, *cells), np.uint16 if math.prod(factor) < 1 << 16 else np.uint32)
    for piece in pieces(cells, Space.of_shape(shape, looked), looked.times(factor)):
        stop = tuple(b * f for b, f in zip(piece.stop, factor, strict=True))
        box = Box.of_bounds(tuple(a * f for a, f in zip(piece.start, factor, strict=True)), stop).clip(shape)
        codes = read_codes(masks, box, looked)
        if codes.any():
            _count(codes, counts[(slice(None), *piece.slices)], np.array(factor))
    whole = math.prod(factor)
    shares = {code: counts[code - 1].astype(np.float32) / whole for code in (AGREED, MISSED, EXCESS) if counts[code - 1].any()}
    return Occupancy(shares, looked.times(factor), step)


@njit(cache=True)
def _count(codes: np.ndarray, counts: np.ndarray, factor: np.ndarray) -> None:
    depth, height, width = codes.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                code = codes[z, y, x]
                if 0 < code <= 3:
                    counts[code - 1, z // factor[0], y // factor[1], x // factor[2]] += 1


def surface(share: np.ndarray, spacing: Spacing, triangles: int) -> Mesh | None:
    """The surface of a mask by marching cubes, of at most `triangles` triangles; None where there is nothing.

    The level is where the surface encloses as many cells as the mask fills: vessels thinner than a cell stay as thin lines
    where neighbours are as full, and the whole is neither swollen nor eaten away.

    Args:
        share: (z, y, x) float32: how much of a cell the mask fills.
        spacing: of the cells.
        triangles: most that may be returned.
    """
    from scipy.ndimage import find_objects

    if not share.any():
        return None
    inside = find_objects((share > 0).astype(np.uint8))[0]
    # nothing around it, so that the surface closes where the mask meets the volume's border; sides stay even when halved
    small = np.pad(share[inside], [(MARGIN, MARGIN + -n % 8) for n in share[inside].shape])
    origin = (np.array([s.start for s in inside]) - MARGIN) * spacing.values
    vertices, faces, outside = _march(small, spacing)
    found, cell = len(faces), spacing
    for _ in range(3):
        if len(faces) <= 3 * triangles:
            break
        # a coarser grid first: clustering alone would merge the two walls of a thin vessel, and the vessel would shrink
        factor = halved_axes(small.shape, cell.values)
        small, cell = halve(small, factor, "image"), cell.times(factor)
        vertices, faces, outside = _march(small, cell)
    fewer, kept, moved = decimate(vertices, faces, triangles)
    if _signed(fewer, kept) < 0:
        kept = kept[:, ::-1]
    return Mesh((fewer + origin).astype(np.float32), kept, found, moved, outside, cell)


def _march(share: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray, float]:
    """Vertices, faces, and the share of the mask that lies outside."""
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    smooth = gaussian_filter(share, 0.6)
    level = _level(smooth, float(share.sum()))
    vertices, faces, _, _ = marching_cubes(smooth, level, spacing=spacing.values, allow_degenerate=False)
    centres = np.array(spacing.values) / 2
    return (vertices + centres).astype(np.float32), faces, float(share[smooth <= level].sum() / share.sum())


def _level(smooth: np.ndarray, filled: float) -> float:
    """Value above which `filled` cells lie, kept away from the extremes so that there is a surface."""
    values = smooth[smooth > 0]
    rank = min(max(len(values) - round(filled), 1), len(values) - 1)
    outside, inside = np.partition(values, (rank - 1, rank))[rank - 1 : rank + 1] if rank else (0.0, values[0])
    top = float(values.max())
    return min(max((float(outside) + float(inside)) / 2, 0.1 * top), 0.6 * top)


def decimate(vertices: np.ndarray, faces: np.ndarray, triangles: int) -> tuple[np.ndarray, np.ndarray, float]:
    """At most `triangles` triangles, by vertex clustering: vertices within one cell of a lattice become their mean.

    Rossignac & Borrel (1993): no edge queue, no topology to keep, a second for millions of triangles. The lattice is made
    coarser until it serves.

    Returns:
        Vertices, faces, and the root mean square distance that vertices were moved.
    """
    if len(faces) <= triangles:
        return vertices, faces.astype(np.int32), 0.0
    edge = float(np.median(np.linalg.norm(vertices[faces[:, 0]] - vertices[faces[:, 1]], axis=1)))
    cell = edge * math.sqrt(len(faces) / triangles)
    while True:
        means, member = _cluster(vertices, cell)
        kept = member[faces]
        kept = kept[(kept[:, 0] != kept[:, 1]) & (kept[:, 1] != kept[:, 2]) & (kept[:, 0] != kept[:, 2])]
        if len(kept) <= triangles:
            fewer, kept = _used(means, kept)
            moved = float(np.sqrt(((vertices - means[member]) ** 2).sum(axis=1).mean()))
            return _swollen(fewer, kept, enclosed(vertices, faces), cell / 2), kept, moved
        cell *= max(1.1, math.sqrt(len(kept) / triangles))


def _cluster(vertices: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of the vertices in each cell of a lattice, and which mean each vertex belongs to."""
    lattice = ((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    sides = lattice.max(axis=0) + 1
    key = (lattice[:, 0] * sides[1] + lattice[:, 1]) * sides[2] + lattice[:, 2]
    _, member = np.unique(key, return_inverse=True)
    count = np.bincount(member)
    means = np.stack([np.bincount(member, vertices[:, i]) / count for i in range(3)], axis=1)
    return means.astype(np.float32), member


def _swollen(vertices: np.ndarray, faces: np.ndarray, volume: float, most: float) -> np.ndarray:
    """Vertices pushed out along their normals, by at most `most`, until about `volume` is enclosed: means shrink what is round."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    crosses = np.cross(b - a, c - a)
    area = float(np.linalg.norm(crosses, axis=1).sum()) / 2
    signed = _signed(vertices, faces)
    outward = np.stack([np.bincount(faces.ravel(), np.repeat(crosses[:, i], 3), len(vertices)) for i in range(3)], axis=1)
    normals = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    step = min(max((volume - abs(signed)) / max(area, 1e-12), -most), most)
    return (vertices + normals * step * (1 if signed >= 0 else -1)).astype(np.float32)


def enclosed(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume inside a closed surface, by the divergence theorem."""
    return abs(_signed(vertices, faces))


def _signed(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Only the vertices that a face needs."""
    used, renamed = np.unique(faces, return_inverse=True)
    return vertices[used], renamed.reshape(faces.shape).astype(np.int32)


# -- the view ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """Named surfaces of one volume and what was lost in making them.

    Attributes:
        meshes: "right", "missed", "too much", "truth", "prediction": those that hold anything.
        volumes: the masks' own volumes by the same names, in the unit of `spacing` cubed.
        spacing: of the grid that surfaces were found on.
        space: of the volume.
        step: see `Occupancy`.
    """

    meshes: Mapping[str, Mesh]
    volumes: Mapping[str, float]
    spacing: Spacing
    space: Space
    step: int
    masks: tuple[str, ...]

    def caption(self) -> str:
        """What the view shows and what it leaves out, in a sentence or two."""
        unit = self.spacing.unit
        if not self.meshes:
            return "There is nothing to show: the masks are empty."
        total = sum(len(mesh.faces) for mesh in self.meshes.values())
        found = sum(mesh.found for mesh in self.meshes.values())
        coarsest = max((mesh.cell for mesh in self.meshes.values()), key=lambda cell: math.prod(cell.values))
        cell = " × ".join(f"{v:.3g}" for v in coarsest.values)
        text = f"{value_text(total)} triangles on grids of {cell} {unit} or finer"
        if found > total:
            moved = max(mesh.moved for mesh in self.meshes.values())
            text += f", out of {value_text(found)}; decimation moved them by {moved:.2g} {unit} or less (root mean square)"
        shares = [100 * mesh.volume / self.volumes[name] for name, mesh in self.meshes.items()]
        text += f". Surfaces enclose {_range(shares)} % of their masks' volume."
        if self.step > 1:
            text += f" Of the masks every {self.step}th voxel along each axis was looked at."
        return text


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def scene(masks: Masks, space: Space, triangles: int = TRIANGLES, voxels: int = VOXELS, read: int = READ) -> Scene:
    """Surfaces of the masks and, of two, of where they agree and differ; memory does not depend on the volume.

    Raises:
        DataError: the image is no volume, or masks have other names than "truth" and "prediction".
    """
    held = occupancy(masks, space, voxels, read)
    nothing = np.zeros((1, 1, 1), np.float32)
    right, missed, excess = (held.shares.get(code, nothing) for code in (AGREED, MISSED, EXCESS))
    if len(masks) == 2:
        wanted = {NAMES[AGREED]: right, NAMES[MISSED]: missed, NAMES[EXCESS]: excess}
        wanted |= {"truth": right + missed, "prediction": right + excess}
    else:
        wanted = dict.fromkeys(masks, right)
    cell = math.prod(held.spacing.values)
    volumes = {name: float(share.sum(dtype=np.float64)) * cell for name, share in wanted.items()}
    each = triangles // len(wanted) if wanted else 0
    found = {name: surface(share, held.spacing, each) for name, share in wanted.items()}
    meshes = {name: mesh for name, mesh in found.items() if mesh is not None}
    return Scene(meshes, volumes, held.spacing, space, held.step, tuple(masks))


def mesh_view(shown: Scene, title: str = "") -> Markup:
    """HTML of a 3-D view: turn, zoom, surfaces on and off, axes with their unit; the page needs `Report`.

    Vertices are 16-bit parts of the volume's extent, packed; the page unpacks them and draws with plotly.js.
    """
    colors = {name: COLORS[code] for code, name in enumerate(NAMES[:4])} | {
        "truth": (190, 195, 205),
        "prediction": COLORS[AGREED],
    }
    extent = [n * s for n, s in zip(shown.space.shape, shown.space.spacing.values, strict=True)]
    low = [-0.02 * side - 2 * s for side, s in zip(extent, shown.spacing.values, strict=True)]
    high = [1.02 * side + 2 * s for side, s in zip(extent, shown.spacing.values, strict=True)]
    data = {
        "title": title,
        "unit": shown.spacing.unit,
        "low": low,
        "high": high,
        "extent": extent,
        "meshes": [
            {
                "name": name,
                "color": list(colors[name]),
                "hidden": len(shown.masks) == 2 and name in shown.masks,
                "vertices": _packed(_quantised(mesh.vertices, low, high)),
                "faces": _packed(mesh.faces.astype("<u4")),
            }
            for name, mesh in shown.meshes.items()
        ],
    }
    held = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return Markup('<div class="view mesh" data-view="mesh"><script type="application/json">{}</script></div>').format(
        Markup(held)
    )


def _quantised(vertices: np.ndarray, low: list[float], high: list[float]) -> np.ndarray:
    """(3, n) uint16, axis by axis, which packs better than vertex by vertex."""
    span = np.array(high) - low
    return np.clip(np.rint((vertices - low) / span * 65535), 0, 65535).astype("<u2").T


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(np.ascontiguousarray(values).tobytes(), 6, mtime=0)).decode()
