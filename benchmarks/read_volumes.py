"""Boxes of volumes: malpighi against what reads the same files otherwise, and how often a voxel is decoded.

    python benchmarks/read_volumes.py [--side 256] [--tile 96] [--reads 40]

Every reader reads the same random boxes, and then every tile of a grid at half overlap; rounds take turns, caches are cold
at each. Times are wall milliseconds a read; on a shared machine only the ratios mean something. Amplification: voxels decoded
over voxels of the volume, as `cache.tiles.decoded` counts them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import zarr
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from malpighi.geometry import Box, Spacing
from malpighi.images import cache, open_image
from malpighi.images.array import ArraySource
from malpighi.images.nifti import write_nifti
from malpighi.images.write import write_image
from malpighi.images.write_slices import write_slices

ROUNDS = 3
Reader = Callable[[Box], np.ndarray]


def organ(side: int) -> np.ndarray:
    """(z, y, x) uint16 of smooth grain, so that it compresses as tissue does."""
    grain = np.random.default_rng(0).normal(0, 9000, (side,) * 3).astype(np.float32)
    return (ndimage.gaussian_filter(grain, 1) + 20000).clip(0, 65535).astype(np.uint16)


def readers(folder: Path, array: np.ndarray) -> dict[str, tuple[Callable[[], Reader], Callable[[], Reader], str]]:
    """Format → malpighi's reader, another's, the other's name; each made anew for a round."""
    source = ArraySource.gray(array, Spacing.um(50, 3))
    write_image(source, folder / "v.ome.zarr")
    plain = zarr.create_array(folder / "p.zarr", shape=array.shape, chunks=(128,) * 3, dtype="uint16")
    plain[:] = array
    read, facts = (lambda box: array[box.slices]), (array.shape, np.uint16, Spacing.um(50, 3))
    write_nifti(folder / "v.nii", read, *facts)
    write_nifti(folder / "v.nii.gz", read, *facts)
    write_slices(folder / "slices", read, *facts)
    files = sorted((folder / "slices").iterdir())

    def ours(name: str) -> Callable[[], Reader]:
        return lambda: open_image(folder / name).read

    def through_zarr(name: str) -> Callable[[], Reader]:
        def made() -> Reader:
            node = zarr.open(folder / name, mode="r")
            found = node if isinstance(node, zarr.Array) else node["0"]
            return lambda box: np.asarray(found[(*(0,) * (found.ndim - 3), *box.slices)])

        return made

    def through_nibabel(name: str) -> Callable[[], Reader]:
        return lambda: lambda box: np.asarray(nib.load(folder / name).dataobj[box.slices[::-1]]).T

    def through_tifffile() -> Reader:
        return lambda box: np.stack([tifffile.imread(files[z])[box.slices[1:]] for z in range(box.start[0], box.stop[0])])

    return {
        "OME-Zarr, 64³ chunks": (ours("v.ome.zarr"), through_zarr("v.ome.zarr"), "zarr"),
        "Zarr, 128³ chunks": (ours("p.zarr"), through_zarr("p.zarr"), "zarr"),
        "NIfTI": (ours("v.nii"), through_nibabel("v.nii"), "nibabel"),
        "NIfTI, gzip": (ours("v.nii.gz"), through_nibabel("v.nii.gz"), "nibabel"),
        "slices, deflate": (ours("slices"), through_tifffile, "tifffile"),
    }


def timed(make: Callable[[], Reader], boxes: list[Box]) -> tuple[float, int]:
    """Milliseconds a read, opening included, and voxels decoded."""
    cache.tiles.clear()
    before = cache.tiles.decoded
    began = time.perf_counter()
    read = make()
    for box in boxes:
        read(box)
    return (time.perf_counter() - began) / len(boxes) * 1e3, cache.tiles.decoded - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--tile", type=int, default=96)
    parser.add_argument("--reads", type=int, default=40)
    asked = parser.parse_args()
    array, tile = organ(asked.side), (asked.tile,) * 3
    random = np.random.default_rng(1)
    anywhere = [Box(tuple(int(v) for v in random.integers(0, asked.side - asked.tile, 3)), tile) for _ in range(asked.reads)]
    half = [cell.grow(asked.tile // 4).clip(array.shape) for cell in Box.of_shape(array.shape).split((asked.tile // 2,) * 3)]
    table = Table(
        "format", "boxes", "malpighi ms", "other ms", "other", "ratio", "amplification", title=f"{asked.side}³ uint16"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, (ours, other, who) in readers(Path(folder), array).items():
            for what, boxes in (("random", anywhere), ("half overlap", half)):
                some = boxes if who == "zarr" else boxes[: asked.reads]
                rounds = [(timed(ours, boxes), timed(other, some)) for _ in range(ROUNDS)]
                mine, theirs = (statistics.median(r[k][0] for r in rounds) for k in (0, 1))
                share = rounds[-1][0][1] / array.size
                told = f"{share:.2f}" if share else "in place"
                table.add_row(name, what, f"{mine:.2f}", f"{theirs:.2f}", who, f"{theirs / mine:.1f}×", told)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
