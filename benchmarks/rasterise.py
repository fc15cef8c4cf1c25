"""Drawing boxes of large annotations: run lengths of a gigapixel slide, and a GeoJSON of many polygons.

    python benchmarks/rasterise.py [--data ../shared/data] [--polygons 20000] [--boxes 300]

Run lengths are the 161,083 of HuBMAP's slide 8242609fa where `--data` holds them, else as many synthetic ones. Each is
compared, on the same boxes, with what notebooks do: decode the whole mask and cut (the cut alone is the floor), or fill
every polygon that meets the box with OpenCV, which is not exact. Times are wall milliseconds; on a shared machine only
the ratios mean something.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import shapely
from rich.console import Console
from rich.table import Table

from malpighi.annotations.geojson import read_geojson, write_geojson
from malpighi.annotations.outlines import ShapesAnnotation
from malpighi.annotations.rle import RunLengths
from malpighi.annotations.submissions import RleAnnotation, open_rle, read_table
from malpighi.geometry import Box, Shape, Space, Spacing

SHAPE = (31299, 44066)
SIDE = 1024


def timed(function: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return (time.perf_counter() - start) * 1e3, result


def synthetic(path: Path) -> None:
    """A table with one mask of about 160,000 runs: discs, as glomeruli are."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, np.uint8)
    for _ in range(600):
        y, x = rng.integers(300, 31_000), rng.integers(300, 43_700)
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(90, 180)), 1, -1)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "encoding"], ["8242609fa", RunLengths.encode(mask).text()]])


def runs_rows(path: Path, boxes: list[Box], table: Table, rounds: int) -> None:
    parse, _ = timed(lambda: read_table(path))
    load, opened = timed(lambda: open_rle(path, Space.of_shape(SHAPE), row="8242609fa"))
    assert isinstance(opened, RleAnnotation)
    runs = opened._slices[0][0]
    whole, mask = timed(runs.decode)
    assert isinstance(mask, np.ndarray)
    near = [
        Box((int(s % SHAPE[0]) // SIDE * SIDE, int(s // SHAPE[0]) // SIDE * SIDE), (SIDE, SIDE)) for s in runs.starts[::500]
    ]
    near = [box for box in near if box.clip(SHAPE) == box]
    add(table, f"{len(runs):,} runs: read the table", [parse])
    add(table, "  parse and check the row", [load])
    add(table, "  decode all 1.4 gigapixels", [whole])
    for name, chosen in (("anywhere", boxes), ("on tissue", near)):
        ours: list[float] = []
        floor: list[float] = []
        for _ in range(rounds):
            for box in chosen:
                ours.append(timed(lambda box=box: opened.rasterise(box))[0])
                cut, part = timed(lambda box=box: mask[box.slices].copy())
                floor.append(cut)
                assert np.array_equal(opened.rasterise(box)[0], part)
        add(table, f"  box of 1024², {name}", ours)
        add(table, "    floor: cut from the decoded mask", floor)
    coarse = [timed(lambda: opened.rasterise(Box((0, 0), (1956, 2754)), Spacing.pixels(2, 16)))[0] for _ in range(3)]
    add(table, "  the whole slide at 1/16", coarse)


def nuclei(count: int) -> list[Shape]:
    """Wobbly outlines of 40 corners, 20 to 60 pixels wide."""
    rng = np.random.default_rng(1)
    side = int((count * 60 * 60) ** 0.5) + 200
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    out = []
    for y, x in rng.uniform(60, side - 60, (count, 2)):
        radius = rng.uniform(10, 25) * (1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6)))
        out.append(
            Shape(shapely.Polygon(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)), "nucleus")
        )
    return out


def polygon_rows(folder: Path, count: int, table: Table, boxes: int) -> None:
    path = folder / "nuclei.geojson"
    shapes = nuclei(count)
    write, _ = timed(lambda: write_geojson(path, shapes))
    load, outlines = timed(lambda: read_geojson(path))
    side = int((count * 60 * 60) ** 0.5) + 200
    annotation = ShapesAnnotation(str(path), Space.of_shape((side, side)), outlines)  # type: ignore[arg-type]
    first, _ = timed(lambda: annotation.rasterise(Box((0, 0), (SIDE, SIDE))))
    add(table, f"{count:,} polygons of 40 corners: write GeoJSON", [write])
    add(table, "  read and check", [load])
    add(table, "  first box (builds the tree)", [first])
    rng = np.random.default_rng(2)
    ours, numbered, peer = [], [], []
    geometries = np.asarray([s.geometry for s in shapes], object)
    tree = shapely.STRtree(geometries)
    for _ in range(boxes):
        y, x = (int(v) for v in rng.integers(0, max(1, side - SIDE), 2))
        box = Box((y, x), (SIDE, SIDE))
        ours.append(timed(lambda box=box: annotation.rasterise(box))[0])
        numbered.append(timed(lambda box=box: annotation.instances(box))[0])
        peer.append(timed(lambda box=box: opencv(tree, geometries, box))[0])
    add(table, "  box of 1024², as classes", ours)
    add(table, "  box of 1024², as numbered objects", numbered)
    add(table, "    cv2.fillPoly one by one, rounded", peer)


def opencv(tree: shapely.STRtree, geometries: np.ndarray, box: Box) -> np.ndarray:
    (y0, x0), (y1, x1) = box.start, box.stop
    out = np.zeros(box.size, np.uint8)
    for index in tree.query(shapely.box(x0, y0, x1, y1)):
        cv2.fillPoly(out, [np.round(shapely.get_coordinates(geometries[index]) - (x0, y0)).astype(np.int32)], 1)
    return out


def add(table: Table, name: str, times: list[float]) -> None:
    table.add_row(name, f"{np.median(times):.2f}", f"{np.percentile(times, 95):.2f}" if len(times) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--polygons", type=int, default=20_000)
    parser.add_argument("--boxes", type=int, default=300)
    asked = parser.parse_args()
    table = Table("what", "median ms", "95 % ms", box=None)
    rng = np.random.default_rng(0)
    starts = zip(rng.integers(0, SHAPE[0] - SIDE, asked.boxes), rng.integers(0, SHAPE[1] - SIDE, asked.boxes), strict=True)
    boxes = [Box((int(y), int(x)), (SIDE, SIDE)) for y, x in starts]
    with tempfile.TemporaryDirectory() as name:
        path = asked.data / "hubmap_kidney" / "train.csv"
        if not path.is_file():
            path = Path(name) / "train.csv"
            synthetic(path)
            print("the real table is not there: synthetic runs", file=sys.stderr)
        runs_rows(path, boxes, table, 1)
        polygon_rows(Path(name), asked.polygons, table, min(asked.boxes, 100))
    Console().print(table)


if __name__ == "__main__":
    main()
