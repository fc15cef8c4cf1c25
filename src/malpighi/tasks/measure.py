"""`measure --vessels`: a vessel mask in, its graph, densities and distances out."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.annotations.base import Annotation
from malpighi.annotations.files import replacing
from malpighi.annotations.masks import open_mask
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.open import open_image
from malpighi.images.write import ZarrWriter
from malpighi.inference.manifest import MANIFEST
from malpighi.objects.bits import BitBlocks
from malpighi.objects.density import count_density, density_table, length_density_name, summarise_distances
from malpighi.objects.distance import DistanceMap
from malpighi.objects.graph import PRUNE, VesselGraph, build_graph
from malpighi.objects.skeleton import skeletonise
from malpighi.objects.vessels import Measures, branch_table, measure_graph, node_table, point_table, unit_of, write_graphml
from malpighi.reports.vessels import write_vessel_report
from malpighi.tasks.object_distances import measure_objects
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.talk import Talk, peak_memory_mb

SUMMARY = "summary.json"
DISTANCE = "distance.ome.zarr"
GRID = {True: 200.0, False: 64.0}
"""Side of a box of the density map: µm, or voxels where their size is unknown."""


@dataclass(frozen=True)
class VesselOptions:
    """What is measured of vessels.

    Attributes:
        prune: twigs shorter than so many radii of the vessel they stand on go.
        grid: side of a box of the density map, µm (voxels where their size is unknown).
        distances: summarise how far every voxel is from a vessel.
        keep_map: write those distances as an OME-Zarr.
        block: side of a block in voxels.
    """

    prune: float = PRUNE
    grid: float | None = None
    distances: bool = True
    keep_map: bool = False
    block: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.prune) and self.prune >= 0):
            raise RecipeError(f"--prune {self.prune}: give a number of 0 or more, in radii of the vessel a twig stands on")
        if self.grid is not None and not (math.isfinite(self.grid) and self.grid > 0):
            raise RecipeError(f"--grid {self.grid}: give the side of a box, more than 0")


@dataclass(frozen=True)
class _Opened:
    """A class of a mask on its own grid."""

    bits: BitBlocks
    spacing: Spacing
    annotation: Annotation


def measure_vessels(
    vessels: Path,
    out: Path,
    *,
    spacing: float | Spacing | None = None,
    classes: Sequence[str] = (),
    tissue: Path | None = None,
    objects: Path | None = None,
    options: VesselOptions | None = None,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Measure the vessels of a mask; what is written appears in `out` whole or not at all.

    Args:
        vessels: prediction folder of `segment`, or a mask of any image format, 2-D or 3-D.
        out: folder to make.
        spacing: of the mask where the file does not say.
        classes: which class of a mask with several is the vessels.
        tissue: mask of the same size; densities and distances count inside it only.
        objects: table, outlines or label image whose distances to the vessels are wanted.
        options: see `VesselOptions`.
        overwrite: replace `out` where it holds an earlier result.

    Returns:
        The content of `summary.json`.

    Raises:
        DataError: the mask is empty, or a file is not what it should be.
        OutputError: `out` exists, or cannot be written.
    """
    talk, options, began = talk or Talk(), options or VesselOptions(), time.monotonic()
    _require_free(out, overwrite)
    opened = _open(vessels, spacing, tuple(classes), options.block)
    inside = None if tissue is None else _open(tissue, opened.spacing, (), options.block)
    part = out.with_name(f".{out.name}.part")
    try:
        if inside is not None and inside.bits.shape != opened.bits.shape:
            raise DataError(
                f"{tissue}: a tissue mask of {_size(inside.bits)} for vessels of {_size(opened.bits)}; give one of the same size"
            )
        if not opened.spacing.physical:
            talk.say("[yellow]note:[/yellow] the mask carries no voxel size: all lengths are in voxels; give it with --spacing")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        told = _measure(vessels, part, opened, inside, objects, options, talk)
        told |= {"seconds": round(time.monotonic() - began, 2), "peak_memory_mb": peak_memory_mb()}
        (part / SUMMARY).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_vessel_report(part)
        _put_in_place(part, out)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{out}: cannot be written ({error.strerror or error}); free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        opened.annotation.close()
        if inside is not None:
            inside.annotation.close()
    talk.say(f"{told['branches']} branches, {told['nodes']} nodes, {told['components']} pieces: {out / 'report.html'}")
    return told


def _measure(
    vessels: Path, part: Path, opened: _Opened, inside: _Opened | None, objects: Path | None, options: VesselOptions, talk: Talk
) -> dict[str, Any]:
    graph = _graph(vessels, opened, options, talk)
    measures = measure_graph(graph)
    _write_tables(part, graph, measures)
    tissue = None if inside is None else inside.bits
    side = options.grid or GRID[opened.spacing.physical]
    with _bar(talk, "counting") as advance:
        density = count_density(opened.bits, graph, side, tissue, advance)
    _write_parquet(part / "density.parquet", density_table(graph, density))
    if not density.tissue.any():
        raise DataError(f"{inside.annotation.name if inside else vessels}: no voxel of it is tissue; give another --tissue")
    told = _summary(vessels, graph, measures) | _density_summary(graph, density.tissue, density.vessel, density.length)
    if options.distances or options.keep_map or objects is not None:
        distance = DistanceMap(opened.bits, graph.spacing)
        if options.distances or options.keep_map:
            told["distance_to_vessel"] = _distances(part, distance, opened, graph, tissue, options, talk)
        if objects is not None:
            with _bar(talk, "objects") as advance:
                table = measure_objects(objects, opened.annotation.space, opened.spacing, distance, graph, advance)
            _write_parquet(part / "objects.parquet", table)
            column = table.column(f"distance_{unit_of(graph.spacing)}").to_numpy()
            told["objects"] = {
                "count": len(column),
                "median_distance": float(np.median(column)),
                "mean_distance": float(column.mean()),
            }
    return told


def _open(path: Path, spacing: float | Spacing | None, classes: tuple[str, ...], block: int | None) -> _Opened:
    """The one class of a mask that is asked for."""
    path = Path(path)
    annotation: Annotation
    if (path / MANIFEST).is_file():
        annotation = Prediction(path)
        grid = annotation.spacing
        if spacing is not None and not grid.physical:
            raise RecipeError(f"{path}: was predicted in pixels; predict again with --spacing, or leave --spacing out here")
    else:
        source = open_image(path, spacing=spacing, labels=True)
        space, grid = source.space, source.space.spacing
        source.close()
        annotation = open_mask(path, space, classes)
    layer = _layer(annotation, classes)
    shape = annotation.space.shape_at(grid)
    return _Opened(BitBlocks(lambda box: annotation.rasterise(box, grid)[layer] == 1, shape, block), grid, annotation)


def _layer(annotation: Annotation, classes: tuple[str, ...]) -> int:
    named = [name for name in classes if name in annotation.classes]
    if len(annotation.classes) == 1 and not classes:
        return 0
    if len(named) != 1:
        annotation.close()
        asked = f"not {', '.join(classes)}" if classes and not named else "name one"
        raise DataError(
            f"{annotation.name}: speaks of {', '.join(annotation.classes)}; {asked}: give one of these with --class"
        )
    return annotation.classes.index(named[0])


def _graph(vessels: Path, opened: _Opened, options: VesselOptions, talk: Talk) -> VesselGraph:
    flat = opened.spacing.rank == 2
    scale = (1.0,) * flat + opened.spacing.values
    with _bar(talk, "skeleton") as advance:
        skeleton = skeletonise(opened.bits, scale, advance)
    if not len(skeleton):
        raise DataError(f"{vessels}: the mask is empty, no voxel is vessel; check the file, or choose another --class")
    return build_graph(skeleton, opened.spacing, options.prune, flat)


def _write_tables(part: Path, graph: VesselGraph, measures: Measures) -> None:
    _write_parquet(part / "nodes.parquet", node_table(graph, measures))
    _write_parquet(part / "branches.parquet", branch_table(graph, measures))
    _write_parquet(part / "points.parquet", point_table(graph))
    write_graphml(part / "graph.graphml", graph, measures)


def _write_parquet(path: Path, table: Any) -> None:
    from pyarrow import parquet

    with replacing(path) as name:
        parquet.write_table(table, name, compression="zstd")


def _summary(vessels: Path, graph: VesselGraph, measures: Measures) -> dict[str, Any]:
    unit = unit_of(graph.spacing)
    weight = measures.length if measures.length.sum() > 0 else None
    several = len(measures.length) > 0
    ends = graph.ends[:, 0] != graph.ends[:, 1]
    return {
        "mask": str(vessels),
        "shape": list(graph.shape[1:] if graph.flat else graph.shape),
        "spacing": {
            "values": list(graph.spacing.values[1:] if graph.flat else graph.spacing.values),
            "unit": graph.spacing.unit,
        },
        "nodes": len(graph.position),
        "branches": len(graph.ends),
        "components": len(measures.root),
        "loops": int(len(graph.ends) - len(graph.position) + len(measures.root)),
        "free_ends": int((measures.degree == 1).sum()),
        "junctions": int((measures.degree > 2).sum()),
        f"total_length_{unit}": float(measures.length.sum()),
        f"mean_radius_{unit}": float(np.average(measures.mean_radius, weights=weight)) if several else None,
        f"largest_radius_{unit}": float(graph.node_radius.max()),
        f"median_branch_length_{unit}": float(np.median(measures.length)) if several else None,
        "median_tortuosity": float(np.nanmedian(measures.tortuosity))
        if (ends & ~np.isnan(measures.tortuosity)).any()
        else None,
        "generations": int(measures.generation.max(initial=-1)) + 1,
        "strahler": int(measures.strahler.max(initial=0)),
    }


def _density_summary(graph: VesselGraph, tissue: np.ndarray, vessel: np.ndarray, length: np.ndarray) -> dict[str, Any]:
    voxel = math.prod(graph.spacing.values[1:] if graph.flat else graph.spacing.values)
    name, factor = length_density_name(graph)
    counted = int(tissue.sum())
    return {
        "tissue_voxels": counted,
        "vessel_voxels": int(vessel.sum()),
        "vessel_fraction": float(vessel.sum() / max(1, counted)),
        name: float(length.sum() / max(1, counted) / voxel * factor),
    }


def _distances(
    part: Path,
    distance: DistanceMap,
    opened: _Opened,
    graph: VesselGraph,
    tissue: BitBlocks | None,
    options: VesselOptions,
    talk: Talk,
) -> dict[str, Any]:
    writer = None
    if options.keep_map:
        shape = graph.shape[1:] if graph.flat else graph.shape
        block = opened.bits.block[-len(shape) :]
        chunk = tuple(min(512 if graph.flat else 64, side) for side in block)
        writer = ZarrWriter(part / DISTANCE, shape, opened.spacing, np.float32, shard=block, chunk=chunk)
    put: Callable[[Box, np.ndarray], None] | None = None
    if writer is not None:
        blocks = writer

        def put(block: Box, values: np.ndarray) -> None:
            where = Box(block.start[1:], block.size[1:]) if graph.flat else block
            blocks.write(where, values.reshape(1, *where.size))

    with _bar(talk, "distances") as advance:
        told = summarise_distances(distance, opened.bits, tissue, put, advance)
    if writer is not None:
        writer.finish()
    return told | {"unit": graph.spacing.unit}


class _bar:
    """A progress bar that is told (done, total)."""

    def __init__(self, talk: Talk, name: str) -> None:
        self._bar = talk.bar(name)

    def __enter__(self) -> Callable[[int, int], None]:
        advance = self._bar.__enter__()
        return lambda done, total: advance(1, total=total)

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)


def _size(bits: BitBlocks) -> str:
    return " × ".join(map(str, bits.shape[1:] if bits.flat else bits.shape))


def _require_free(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise OutputError(f"{out}: exists; choose another folder with -o, or pass --overwrite")
    if not (out / SUMMARY).is_file():
        raise OutputError(f"{out}: exists and is not a result of `malpighi measure`; choose another folder with -o")


def _put_in_place(part: Path, out: Path) -> None:
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)
