"""Objects of a large mask: components, outlines and measurements, time and memory.

    python benchmarks/objects.py [--side 20000] [--rounds 3]

Components: malpighi in blocks against OpenCV, SciPy and scikit-image on the whole mask in memory (`--peers` leaves some
out). Outlines: malpighi's exact and simplified ones against OpenCV's contours of the whole mask, which follow pixel centres
and know neither classes, units nor measurements. Every engine runs in a process of its own, so that its peak memory is its
own; the mask is made of one pattern that repeats, so that blocks come from nowhere, as they would from a file. Seconds by
the clock and of all cores together, medians; on a shared machine only the ratios of the latter mean something.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Box, Space, Spacing
from malpighi.objects.label import find_components
from malpighi.objects.measure import ObjectOptions, find_objects

PATTERN = 2500
"""Side of the pattern that repeats, in pixels; no divisor of the blocks, so that objects lie across their borders."""


def pattern() -> np.ndarray:
    """Ellipses of 40 to 160 pixels across, about 160 in 2500², some with a lumen, some touching."""
    generator = np.random.default_rng(0)
    mask = np.zeros((PATTERN, PATTERN), np.uint8)
    for i in range(200):
        centre = tuple(int(v) for v in generator.integers(0, PATTERN, 2))
        axes = tuple(int(v) for v in generator.integers(20, 80, 2))
        angle = float(generator.integers(0, 180))
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 1, -1)
        if i % 5 == 0:
            cv2.ellipse(mask, centre, (axes[0] // 3, axes[1] // 3), angle, 0, 360, 0, -1)
    return mask


def reader(side: int) -> Callable[[Box], np.ndarray]:
    wide = np.tile(pattern(), (2, 2))

    def read(box: Box) -> np.ndarray:
        out = np.empty(box.size, np.uint8)
        for part in box.split((PATTERN, PATTERN)):
            y, x = (a % PATTERN for a in part.start)
            out[part.relative_to(box.start).slices] = wide[y : y + part.size[0], x : x + part.size[1]]
        return out

    return read


def whole(side: int) -> np.ndarray:
    times = -(-side // PATTERN)
    return np.tile(pattern(), (times, times))[:side, :side].copy()


def components_malpighi(side: int) -> Callable[[], int]:
    read = reader(side)
    return lambda: len(find_components(read, (side, side)))


def components_opencv(side: int) -> Callable[[], int]:
    mask = whole(side)
    return lambda: cv2.connectedComponentsWithStats(mask, connectivity=8)[0] - 1


def components_scipy(side: int) -> Callable[[], int]:
    from scipy import ndimage

    mask = whole(side)
    return lambda: ndimage.label(mask, np.ones((3, 3)))[1]


def components_skimage(side: int) -> Callable[[], int]:
    from skimage.measure import label

    mask = whole(side)
    return lambda: int(label(mask, connectivity=2, return_num=True)[1])


def outlines_malpighi(side: int, simplify: float) -> Callable[[], int]:
    space = Space.of_shape((side, side), Spacing.um(0.5))
    read = reader(side)
    options = ObjectOptions(simplify=simplify)
    return lambda: sum(1 for _ in find_objects(read, space, space.spacing, "object", options))


def outlines_opencv(side: int) -> Callable[[], int]:
    mask = whole(side)

    def trace() -> int:
        _, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return int((tree[0, :, 3] < 0).sum())

    return trace


COMPONENTS: dict[str, Callable[[int], Callable[[], int]]] = {
    "malpighi, blocks": components_malpighi,
    "OpenCV, whole": components_opencv,
    "SciPy, whole": components_scipy,
    "scikit-image, whole": components_skimage,
}
OUTLINES: dict[str, Callable[[int], Callable[[], int]]] = {
    "malpighi, measured, simplified": partial(outlines_malpighi, simplify=0.5),
    "malpighi, measured, exact": partial(outlines_malpighi, simplify=0.0),
    "OpenCV contours, whole": outlines_opencv,
}


def measure(make: Callable[[int], Callable[[], int]], side: int, rounds: int, queue: multiprocessing.Queue) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work = make(side)
    seconds, cpu = [], []
    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        found = work()
        seconds.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queue.put((statistics.median(seconds), statistics.median(cpu), peak, found))


def table(title: str, engines: dict[str, Callable[[int], Callable[[], int]]], side: int, rounds: int) -> Table:
    out = Table("engine", "s", "CPU s", "CPU × the first", "peak MB", "objects", title=f"{title}, {side}²")
    context = multiprocessing.get_context("spawn")
    first = 0.0
    for name, make in engines.items():
        queue = context.Queue()
        process = context.Process(target=measure, args=(make, side, rounds, queue))
        process.start()
        seconds, cpu, peak, found = queue.get()
        process.join()
        first = first or cpu
        out.add_row(name, f"{seconds:.2f}", f"{cpu:.2f}", f"{cpu / first:.2f}", f"{peak:.0f}", str(found))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["OpenCV", "SciPy", "scikit-image"], help="which peers to run")
    options = parser.parse_args()
    console = Console()
    for title, engines in (("components", COMPONENTS), ("outlines", OUTLINES)):
        kept = {k: v for k, v in engines.items() if k.startswith(("malpighi", *options.peers))}
        console.print(table(title, kept, options.side, options.rounds))


if __name__ == "__main__":
    main()
