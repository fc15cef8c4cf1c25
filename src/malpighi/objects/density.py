"""How much vessel there is: by boxes of a grid, and how far away all else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.geometry import Box
from malpighi.objects.bits import BitBlocks, add_to_cells
from malpighi.objects.distance import DistanceMap
from malpighi.objects.graph import VesselGraph
from malpighi.objects.vessels import unit_of

if TYPE_CHECKING:
    import pyarrow as pa

BINS = 4096
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True, eq=False)
class Density:
    """Vessel and tissue by boxes of a grid that starts at the volume's corner.

    Attributes:
        cell: voxels of a box, (z, y, x); boxes at the far border may be smaller.
        tissue: (z, y, x) int64, voxels of each box that count.
        vessel: (z, y, x) int64, those of them that are vessel.
        length: (z, y, x) float64, of centre lines in them, in the unit of the spacing.
    """

    cell: tuple[int, ...]
    tissue: np.ndarray
    vessel: np.ndarray
    length: np.ndarray


def count_density(
    mask: BitBlocks, graph: VesselGraph, side: float, tissue: BitBlocks | None = None, progress: Progress = None
) -> Density:
    """Count in boxes of about `side` (unit of the spacing; whole voxels, at least one), inside `tissue` where given."""
    cell = tuple(min(n, max(1, round(side / s))) for n, s in zip(mask.shape, graph.spacing.values, strict=True))
    grid = tuple(-(-n // c) for n, c in zip(mask.shape, cell, strict=True))
    counted, vessel = np.zeros(grid, np.int64), np.zeros(grid, np.int64)
    middle, length = _steps(graph)
    inside = np.ones(len(middle), bool)
    at = np.clip(np.floor(middle).astype(np.int64), 0, np.array(mask.shape) - 1)
    for number, block in enumerate(mask.blocks(), 1):
        here = None if tissue is None else tissue.read(block)
        if here is None:
            add_to_cells(counted, np.broadcast_to(np.uint8(1), block.size), block, cell)
        else:
            add_to_cells(counted, here, block, cell)
            mine = np.flatnonzero(((at >= block.start) & (at < block.stop)).all(axis=1))
            inside[mine] = here[tuple((at[mine] - block.start).T)]
        if not mask.empty(block):
            voxels = mask.read(block)
            add_to_cells(vessel, voxels if here is None else voxels & here, block, cell)
        if progress is not None:
            progress(number, len(mask))
    total = np.zeros(grid)
    np.add.at(total, tuple((at[inside] // np.array(cell)).T), length[inside])
    return Density(cell, counted, vessel, total)


def _steps(graph: VesselGraph) -> tuple[np.ndarray, np.ndarray]:
    """Middle (voxels) and length of every step between two points of a centre line."""
    first = np.ones(len(graph.points), bool)
    first[graph.offset[1:] - 1] = False
    a = np.flatnonzero(first)
    p, q = graph.points[a], graph.points[a + 1]
    return (p + q) / 2, np.linalg.norm((q - p) * np.array(graph.spacing.values), axis=1)


def density_table(graph: VesselGraph, density: Density) -> pa.Table:
    """A row for each box of the grid that holds tissue: where it lies (voxels), what it holds, densities."""
    import pyarrow as pa

    rank = 2 if graph.flat else 3
    unit = unit_of(graph.spacing)
    voxel = float(np.prod(graph.spacing.values[-rank:]))
    where = np.nonzero(density.tissue)
    columns: dict[str, Any] = {}
    for axis, name in list(enumerate("zyx"))[-rank:]:
        columns[f"{name}_min"] = where[axis] * density.cell[axis]
        columns[f"{name}_max"] = np.minimum((where[axis] + 1) * density.cell[axis], graph.shape[axis])
    tissue = density.tissue[where]
    columns |= {"tissue_voxels": tissue, "vessel_fraction": density.vessel[where] / tissue}
    columns[f"length_{unit}"] = density.length[where]
    name, factor = length_density_name(graph)
    columns[name] = density.length[where] / (tissue * voxel) * factor
    return pa.table(columns)


def length_density_name(graph: VesselGraph) -> tuple[str, float]:
    """The column's name, and what a density in the spacing's unit is multiplied with: mm/mm³ (mm/mm² of two axes), or per px."""
    power = 2 if graph.flat else 3
    if graph.spacing.physical:
        return f"length_density_mm_per_mm{power}", 1000.0 ** (power - 1)
    return f"length_density_px_per_px{power}", 1.0


def summarise_distances(
    distance: DistanceMap,
    mask: BitBlocks,
    tissue: BitBlocks | None = None,
    write: Callable[[Box, np.ndarray], None] | None = None,
    progress: Progress = None,
) -> dict[str, Any]:
    """Distances of all voxels outside the vessels (and inside `tissue`) to the nearest vessel voxel, in one streamed pass.

    Args:
        write: called with each block and its distances (z, y, x), to keep the map.

    Returns:
        voxels, mean, percentiles 5, 25, 50, 75, 95, 99 (to 1/4096 of the largest distance), max; `histogram` and `edges`.
    """
    top = distance.longest
    counts, total, largest = np.zeros(BINS, np.int64), 0.0, 0.0
    for number, block in enumerate(mask.blocks(), 1):
        found = distance(block)
        if write is not None:
            write(block, found)
        wanted = found > 0
        if tissue is not None:
            wanted &= tissue.read(block)
        values = found[wanted]
        if len(values):
            counts += np.bincount(np.minimum((values * (BINS / top)).astype(np.int64), BINS - 1), minlength=BINS)
            total += float(values.sum(dtype=np.float64))
            largest = max(largest, float(values.max()))
        if progress is not None:
            progress(number, len(mask))
    voxels = int(counts.sum())
    run = np.cumsum(counts)
    middle = (np.arange(BINS) + 0.5) * top / BINS
    told: dict[str, Any] = {"voxels": voxels, "mean": total / voxels if voxels else None}
    for p in (5, 25, 50, 75, 95, 99):
        told[f"p{p}"] = min(largest, float(middle[np.searchsorted(run, p / 100 * voxels)])) if voxels else None
    shown = min(BINS, int(np.ceil(largest / top * BINS)) + 1) if voxels else 1
    step = -(-shown // 64)
    told |= {"max": largest if voxels else None}
    told["histogram"] = np.add.reduceat(counts[:shown], np.arange(0, shown, step)).tolist()
    told["edges"] = [k * step * top / BINS for k in range(len(told["histogram"]) + 1)]
    return told
