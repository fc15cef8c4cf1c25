"""How far objects are from the nearest vessel: objects of a table, of outlines, or of a label image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.masks import MaskAnnotation
from malpighi.annotations.open import read_outlines
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.open import is_image, open_image
from malpighi.objects.distance import DistanceMap
from malpighi.objects.graph import VesselGraph
from malpighi.objects.label import find_components
from malpighi.objects.vessels import unit_of

Progress = Callable[[int, int], None] | None


def measure_objects(
    path: Path, space: Space, spacing: Spacing, distance: DistanceMap, graph: VesselGraph, progress: Progress = None
) -> Any:
    """A row for each object: id, centre, distance from the centre, and from the nearest part of it, to the nearest vessel voxel.

    Args:
        path: Parquet with the columns of `segment`'s objects.parquet (centroid_z_um …) or plain z_um, y_um, x_um (or _px: level-0
            voxels); outlines (2-D); or a label image of the mask's size.
        space: of the image the objects belong to.
        spacing: of the vessel mask.

    Returns:
        A pyarrow table: id, position, `distance_um`, `edge_distance_um` (label images only), `nearest_branch`.
    """
    import pyarrow as pa

    path = Path(path)
    edge: np.ndarray | None = None
    if not path.exists():
        raise DataError(f"{path}: does not exist; check --objects")
    if path.suffix.lower() == ".parquet":
        ids, centre = _of_table(path, space, spacing)
    elif is_image(path) or path.is_dir():
        ids, centre, edge = _of_labels(path, space, spacing, distance, progress)
    else:
        ids, centre = _of_outlines(path, space, spacing)
    if not len(ids):
        raise DataError(f"{path}: holds no object; leave --objects out, or give another file")
    shape = np.array(distance.mask.shape)
    outside = ((centre < 0) | (centre > shape)).any(axis=1)
    if outside.any():
        raise DataError(
            f"{path}: object {ids[outside][0]} lies outside the mask of {' × '.join(map(str, shape))}; "
            "check the order of axes and the unit of its columns"
        )
    unit = unit_of(graph.spacing)
    columns: dict[str, Any] = {"id": ids}
    for axis, name in [(1, "y"), (2, "x")] if graph.flat else [(0, "z"), (1, "y"), (2, "x")]:
        columns[f"{name}_{unit}"] = centre[:, axis] * graph.spacing.values[axis]
    columns[f"distance_{unit}"] = _at_points(distance, centre)
    if edge is not None:
        columns[f"edge_distance_{unit}"] = edge
    columns["nearest_branch"] = _nearest_branch(graph, centre)
    return pa.table(columns)


def _of_table(path: Path, space: Space, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Ids and centres, (n, 3) voxels of the mask."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error}); write it again") from error
    axes = space.axes
    voxels = spacing.over(space.spacing)
    for unit, scale in (("um", spacing.values), ("px", voxels)):
        if unit == "um" and not spacing.physical:
            continue
        for form in ("centroid_{}_{}", "{}_{}"):
            names = [form.format(axis, unit) for axis in axes]
            if set(names) <= set(table.column_names):
                centre = np.stack(
                    [np.asarray(table.column(n).to_numpy(), float) / s for n, s in zip(names, scale, strict=True)], 1
                )
                ids = table.column("id").to_numpy() if "id" in table.column_names else np.arange(len(centre))
                return ids, _in_three(centre)
    wanted = ", ".join(f"{axis}_um" for axis in axes)
    raise DataError(f"{path}: has the columns {', '.join(table.column_names)}; needs {wanted} (or centroid_…, or _px)")


def _of_outlines(path: Path, space: Space, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    found = read_outlines(path)
    if found is None or space.rank != 2:
        raise DataError(
            f"{path}: objects of a volume come as a Parquet table (z_um, y_um, x_um) or a label volume"
            if space.rank == 3
            else f"{path}: objects come as a Parquet table, outlines (.geojson) or a label image"
        )
    points = [shape.geometry.centroid for shape in found.shapes]
    ratio = spacing.over(space.spacing)
    centre = np.array([(p.y / ratio[0], p.x / ratio[1]) for p in points]).reshape(-1, 2)
    return np.arange(len(centre)), _in_three(centre)


def _of_labels(
    path: Path, space: Space, spacing: Spacing, distance: DistanceMap, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = MaskAnnotation(open_image(path, labels=True), space)
    try:
        flat = space.rank == 2
        shape = space.shape_at(spacing)
        read: Callable[[Box], np.ndarray]
        if labels.has_objects:
            read = lambda box: labels.instances(box, spacing)  # noqa: E731
        else:
            read = find_components(lambda box: labels.rasterise(box, spacing)[0] == 1, shape).labels
        count: dict[int, int] = {}
        total: dict[int, np.ndarray] = {}
        least: dict[int, float] = {}
        for number, block in enumerate(distance.mask.blocks(), 1):
            seen = read(Box(block.start[1:], block.size[1:]) if flat else block).reshape(block.size)
            at = np.nonzero(seen)
            if len(at[0]):
                names, which = np.unique(seen[at], return_inverse=True)
                near = np.full(len(names), np.inf)
                np.minimum.at(near, which, distance(block)[at])
                sums = np.stack([np.bincount(which, a + s + 0.5) for a, s in zip(at, block.start, strict=True)], axis=1)
                for name, n, s, d in zip(names.tolist(), np.bincount(which).tolist(), sums, near.tolist(), strict=True):
                    count[name] = count.get(name, 0) + n
                    total[name] = total.get(name, 0) + s
                    least[name] = min(least.get(name, np.inf), d)
            if progress is not None:
                progress(number, len(distance.mask))
        ids = np.array(sorted(count), np.int64)
        centre = np.array([total[i] / count[i] for i in ids.tolist()]).reshape(-1, 3)
        return ids, centre, np.array([least[i] for i in ids.tolist()])
    finally:
        labels.close()


def _in_three(centre: np.ndarray) -> np.ndarray:
    """(n, 3) of (n, 2) or (n, 3): a 2-D mask is a volume of one slice."""
    return centre if centre.shape[1] == 3 else np.concatenate([np.full((len(centre), 1), 0.5), centre], axis=1)


def _at_points(distance: DistanceMap, centre: np.ndarray) -> np.ndarray:
    """Distance at each point, that of the voxel it lies in; points of one block are looked up together."""
    shape = distance.mask.shape
    at = np.minimum(np.floor(centre).astype(np.int64), np.array(shape) - 1)
    block = at // np.array(distance.mask.block)
    found = np.empty(len(at))
    for index in np.unique(block, axis=0):
        mine = np.flatnonzero((block == index).all(axis=1))
        low, high = at[mine].min(axis=0), at[mine].max(axis=0) + 1
        box = Box.of_bounds(low.tolist(), high.tolist())
        found[mine] = distance(box)[tuple((at[mine] - low).T)]
    return found


def _nearest_branch(graph: VesselGraph, centre: np.ndarray) -> np.ndarray:
    """The branch whose centre line comes closest to each point; -1 where there is none."""
    from scipy.spatial import cKDTree

    if not len(graph.points):
        return np.full(len(centre), -1)
    scale = np.array(graph.spacing.values)
    _, near = cKDTree(graph.points * scale).query(centre * scale)
    return np.searchsorted(graph.offset, near, side="right") - 1
