"""Random tile reads: malpighi against OpenSlide, tifffile through zarr, and a memory map as the floor.

    python benchmarks/read_tiles.py [--side 8192] [--reads 60] [--threads 2]

Every reader reads the same boxes, in rounds that take turns; caches of decoded tiles are cold at each round. Times are
wall milliseconds a read; on a shared machine only the ratios mean something.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import tifffile
import zarr
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Box
from malpighi.images import cache
from malpighi.images.tiff import TiffSource
from malpighi.images.write import write_image
from malpighi.images.zarr import ZarrSource

Reader = Callable[[Box], np.ndarray]


def tissue(side: int) -> np.ndarray:
    """(y, x, 3): coloured blobs and grain, so that JPEG has work as on a slide."""
    generator = np.random.default_rng(0)
    image = np.zeros((side, side, 3), np.float32)
    for cells in (side // 200, side // 24, side // 5):
        coarse = generator.random((cells, cells, 3), dtype=np.float32)
        image += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(image * 255, 0, 255).astype(np.uint8)


def through_openslide(path: Path) -> Reader:
    slide = openslide.OpenSlide(str(path))

    def read(box: Box) -> np.ndarray:
        region = slide.read_region((box.start[1], box.start[0]), 0, (box.size[1], box.size[0]))
        return np.asarray(region)[..., :3].transpose(2, 0, 1)

    return read


def through_zarr(path: Path) -> Reader:
    store: Any = tifffile.imread(path, aszarr=True)
    array = zarr.open(store, mode="r")
    array = array if isinstance(array, zarr.Array) else array["0"]
    return lambda box: np.asarray(array[box.slices]).transpose(2, 0, 1)


def measure(readers: dict[str, Reader], boxes: list[Box], threads: int, rounds: int = 3) -> dict[str, float]:
    """Median over rounds of the milliseconds a read."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(rounds + 1):  # the first warms files and imports
            for name, read in readers.items():
                cache.tiles.clear()
                start = time.perf_counter()
                for _ in pool.map(read, boxes):
                    pass
                if turn:
                    times[name].append((time.perf_counter() - start) * 1000 / len(boxes))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--reads", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cache.tiles.limit = 32 * 2**20  # what OpenSlide allows itself
    generator = np.random.default_rng(1)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        pixels = tissue(options.side)
        np.save(Path(folder) / "floor.npy", pixels)
        floor = np.load(Path(folder) / "floor.npy", mmap_mode="r")
        for tile in (256, 512):
            path = Path(folder) / f"{tile}.tif"
            tifffile.imwrite(
                path, pixels, tile=(tile, tile), compression="jpeg", compressionargs={"level": 80}, photometric="rgb"
            )
            source = TiffSource(path)
            readers: dict[str, Reader] = {
                "malpighi": source.read,
                "OpenSlide": through_openslide(path),
                "tifffile through zarr": through_zarr(path),
                "memory map (floor)": lambda box: np.array(floor[box.slices]).transpose(2, 0, 1),
            }
            if tile == 512:
                write_image(source, Path(folder) / "slide.ome.zarr")
                readers["malpighi, OME-Zarr 512"] = ZarrSource(Path(folder) / "slide.ome.zarr").read
            for size in (512, 1024):
                starts = generator.integers(0, options.side - size, (options.reads, 2))
                boxes = [Box((int(y), int(x)), (size, size)) for y, x in starts]
                table = Table(title=f"JPEG tiles of {tile}, reads of {size}², {options.threads} threads")
                for column in ("reader", "ms a read", "× malpighi"):
                    table.add_column(column, justify="left" if column == "reader" else "right")
                times = measure(readers, boxes, options.threads)
                for name, value in sorted(times.items(), key=lambda item: item[1]):
                    table.add_row(name, f"{value:.2f}", f"{value / times['malpighi']:.2f}")
                console.print(table)


if __name__ == "__main__":
    main()
