"""Does training on a volume larger than memory's cache wait for its data? Random patches of an OME-Zarr against a step.

A uint16 volume and its mask are written to disk in chunks of 64³ and 128³, several times the tile cache (256 MB). Batches are
read, warped (standard augmentation; "tilted": oblique, 30 degrees) and recoloured by two threads, while a step of a stated
time sleeps, as the processor does while a GPU works. A step rate of 100 % means that no step waited. Where the machine is
shared, the processor time of a batch is the number to trust: cores × step / that is the rate it can be fed at.

    python benchmarks/feed_volume.py [--side 768] [--step 250] [--steps 20]
"""

# ruff: noqa: E402  (thread counts are set before NumPy is loaded)

from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from malpighi.annotations.masks import open_mask
from malpighi.geometry import Box, Spacing
from malpighi.images import cache
from malpighi.images.open import open_image
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import Case, OpenCase
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.turned import turned

KINDS: dict[str, tuple[tuple[int, ...], int, float, tuple[str, ...]]] = {  # tile, batch, tilt, axes
    "64³ patches": ((64, 64, 64), 4, 0.0, ("z",)),
    "96³ patches": ((96, 96, 96), 2, 0.0, ("z",)),
    "96³ patches, tilted": ((96, 96, 96), 2, 30.0, ("z",)),
    "3 slices of 256²": ((3, 256, 256), 8, 0.0, ("z",)),
    "3 slices of 256², three axes": ((3, 256, 256), 8, 0.0, ("z", "y", "x")),
    "3 slices of 256², three axes, tilted": ((3, 256, 256), 8, 30.0, ("z", "y", "x")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--step", type=float, default=250, help="ms")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for chunk in args.chunks:
            case = write(Path(folder) / str(chunk), args.side, chunk)
            size = args.side**3 * 3 / 2**20
            print(
                f"\n{args.side}³ uint16 and mask, {size:.0f} MB, chunks of {chunk}³, {args.threads} threads, step {args.step:.0f} ms"
            )
            print(
                f"{'tiles':<38}{'batch':>6}{'batch, ms':>11}{'batch, CPU ms':>15}{'tiles/s':>9}{'step rate':>11}{'waiting':>9}{'decoded/used':>14}{'bound':>14}"
            )
            for name, kind in KINDS.items():
                print(row(name, case, kind, args), flush=True)


def row(name: str, case: OpenCase, kind: tuple, args: argparse.Namespace) -> str:
    tile, count, tilt, axes = kind
    spacing = Spacing.pixels(3)
    cases = [turned(case, axis) for axis in axes]
    foreground = [find_foreground(view.annotation, spacing, tile) for view in cases]
    draw = sampler(SamplerOptions(), [view.source.shape for view in cases], tile, 0, foreground)
    options = AugmentOptions(rotate=30, tilt=tilt)
    batches = TileBatches(cases, draw, spacing, tile, 1.0, options, count, seed=0, threads=args.threads)
    batches.make(10**6)  # compiles what is compiled
    cache.tiles.clear()
    made = []
    worked = time.process_time()
    decoded = Counted()
    for n in range(8):
        started = time.perf_counter()
        batch = batches.make(10**5 + n)
        made.append(time.perf_counter() - started)
    used = 8 * (batch.images.nbytes + batch.targets.nbytes)
    amplification = decoded.stop() / used
    worked = (time.process_time() - worked) / 8
    stream = batches(0)
    next(stream)
    waits = []
    started = time.perf_counter()
    for _ in range(args.steps):
        asked = time.perf_counter()
        next(stream)
        waits.append(time.perf_counter() - asked)
        time.sleep(args.step / 1e3)
    wall = time.perf_counter() - started
    stream.close()
    rate = args.steps * args.step / 1e3 / wall
    alone = statistics.median(made)
    bound = "ok" if rate >= 0.9 else "reading"
    return (
        f"{name:<38}{count:>6}{1e3 * alone:>11.0f}{1e3 * worked:>15.0f}{count * args.steps / wall:>9.1f}{rate:>11.0%}"
        f"{sum(waits) / wall:>9.1%}{amplification:>14.1f}{bound:>14}"
    )


class Counted:
    """Bytes that are decoded while this counts."""

    def __init__(self) -> None:
        self.bytes, self._put = 0, cache.tiles.put
        cache.tiles.put = self._count  # type: ignore[method-assign]

    def _count(self, key, tile: np.ndarray) -> None:
        self.bytes += tile.nbytes
        self._put(key, tile)

    def stop(self) -> int:
        cache.tiles.put = self._put  # type: ignore[method-assign]
        return self.bytes


def write(folder: Path, side: int, chunk: int) -> OpenCase:
    """12-bit noise over smooth tissue, which compresses as scans do, and thin bright tubes."""
    import zarr

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (chunk,) * 3, np.uint16)
    shape, chunks = (side,) * 3, (chunk,) * 3
    options = {"shape": shape, "chunks": chunks, "zarr_format": 3, "dimension_names": ("z", "y", "x")}
    image = zarr.create_array(folder / "image.zarr", dtype="uint16", **options)
    mask = zarr.create_array(folder / "mask.zarr", dtype="uint8", **options)
    for box in Box.of_shape(shape).split(chunks):
        z, y, x = np.ogrid[box.slices]
        tube = (np.sin(z / 31 + x / 57) * np.cos(y / 43 + x / 67) > 0.93).astype(np.uint8)
        image[box.slices] = noise[tuple(slice(n) for n in box.size)] + np.uint16(1000) + np.uint16(900) * tube
        mask[box.slices] = tube
    source = open_image(folder / "image.zarr")
    annotation = open_mask(folder / "mask.zarr", source.space, ("vessel",))
    return OpenCase(Case("phantom", folder), source, annotation)


if __name__ == "__main__":
    main()
