"""Finding cells without learning: images a second, and agreement with outlines drawn by others.

    python benchmarks/cells.py [--data ../shared/data] [--rounds 5] [--threads 1]

malpighi (`find_cells`, its default options) against the pipeline that scikit-image's gallery teaches: Gaussian, Otsu, distance
transform, local maxima, watershed; at full size and at the same working size, labels brought back by the nearest pixel.
Images of 2048² are the one of `single_cells` that has a reference mask, and without data a drawn one. Every engine does
one image at a time and is warmed up; medians of rounds, engines in turn, so that other work on the machine hits all alike; on a shared machine
only seconds of the CPU mean something. AP50 is TP / (TP + FP + FN) at IoU .5.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from malpighi.metrics.instances import Intersections, average_precisions
from malpighi.objects.cell_features import cell_features
from malpighi.objects.cells import CellOptions, find_cells

Engine = Callable[[np.ndarray, np.ndarray], np.ndarray]
OPTIONS = CellOptions()


def malpighi(nucleus: np.ndarray, cell: np.ndarray) -> np.ndarray:
    return find_cells(nucleus, cell, OPTIONS).labels


def scikit_image(nucleus: np.ndarray, cell: np.ndarray, scale: float = 1.0) -> np.ndarray:
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed
    from skimage.transform import rescale, resize

    shape = nucleus.shape
    if scale < 1:
        nucleus, cell = (rescale(a, scale, anti_aliasing=True, channel_axis=c) for a, c in ((nucleus, None), (cell, 0)))
    blue = gaussian(nucleus, 8 * scale)
    mask = remove_small_objects(blue > threshold_otsu(blue), max_size=int(OPTIONS.nucleus_area * scale**2))
    distance = distances(mask)
    radius = np.sqrt(OPTIONS.nucleus_area / np.pi) * scale
    peaks = peak_local_max(distance, min_distance=int(2 * radius), labels=label(mask))
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(len(peaks)) + 1
    nuclei = watershed(-distance, markers, mask=mask)
    red = gaussian(cell.mean(axis=0), 8 * scale)
    labels = watershed(-red, nuclei, mask=(red > threshold_otsu(red)) | mask)
    return labels if scale == 1 else resize(labels, shape, order=0, preserve_range=True, anti_aliasing=False).astype(np.int32)


def distances(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(mask)


ENGINES: dict[str, Engine] = {
    "malpighi": malpighi,
    "scikit-image, full size": scikit_image,
    "scikit-image, same size": lambda nucleus, cell: scikit_image(nucleus, cell, OPTIONS.scale),
}


def drawn(side: int = 2048, count: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells on a jittered lattice, (y, x) nucleus channel, (2, y, x) extent, (y, x) true labels."""
    rng = np.random.default_rng(0)
    step = side // count
    truth, blue, red = (np.zeros((side, side), np.float32) for _ in range(3))
    for i in range(count * count):
        x, y = (int((k + 0.5) * step + rng.integers(-step // 8, step // 8)) for k in (i % count, i // count))
        angle, bright = float(rng.integers(180)), float(rng.uniform(0.4, 1))
        cv2.ellipse(truth, (x, y), (int(0.45 * step), int(0.36 * step)), angle, 0, 360, i + 1, -1)
        cv2.ellipse(red, (x, y), (int(0.45 * step), int(0.36 * step)), angle, 0, 360, 100 * bright, -1)
        cv2.ellipse(blue, (x, y), (int(0.2 * step), int(0.16 * step)), angle, 0, 360, 150 * bright, -1)
    images = [np.clip(cv2.GaussianBlur(a, (0, 0), 4) + rng.normal(5, 4, a.shape), 0, 255).astype(np.uint8) for a in (blue, red)]
    return images[0], np.stack([images[1], images[1]]), truth.astype(np.int32)


def real(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    folder = data / "single_cells" / "if"
    blue, green = (
        cv2.imread(str(folder / "data" / f"383_d2_1_{name}.png"), cv2.IMREAD_GRAYSCALE) for name in ("blue", "green")
    )
    mask = cv2.imread(str(folder / "mask" / "383_d2_1_mask.png"), cv2.IMREAD_GRAYSCALE)
    assert blue is not None
    assert green is not None
    assert mask is not None
    return blue, np.stack([green, green]), mask.astype(np.int32)


def agreement(labels: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """AP at .5, mean AP over .5 … .95, mean over true cells of the best IoU."""
    both = Intersections()
    both.add(labels.astype(np.int32), truth)
    pairs = both.pairs()
    best = np.zeros(len(pairs.true))
    np.maximum.at(best, pairs.t, pairs.iou)
    precisions = average_precisions(pairs)
    return precisions[0.5], float(np.mean(list(precisions.values()))), float(best.mean())


def compare(title: str, image: tuple[np.ndarray, np.ndarray, np.ndarray], rounds: int) -> Table:
    nucleus, cell, truth = image
    labels = {name: engine(nucleus, cell) for name, engine in ENGINES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    cpu: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(rounds):
        for name, engine in ENGINES.items():
            start = time.perf_counter(), time.process_time()
            engine(nucleus, cell)
            seconds[name].append(time.perf_counter() - start[0])
            cpu[name].append(time.process_time() - start[1])
    out = Table(
        "engine",
        "s an image",
        "CPU s",
        "images a CPU s",
        "cells",
        "AP50",
        "mean AP",
        "mean IoU",
        title=f"{title}, {truth.max()} cells",
    )
    for name in ENGINES:
        clock, own = statistics.median(seconds[name]), statistics.median(cpu[name])
        ap, mean, iou = agreement(labels[name], truth)
        speed = f"{clock:.3f}", f"{own:.3f}", f"{1 / own:.1f}"
        out.add_row(name, *speed, str(labels[name].max()), f"{ap:.3f}", f"{mean:.3f}", f"{iou:.3f}")
    return out


def stages(image: tuple[np.ndarray, np.ndarray, np.ndarray], rounds: int) -> Table:
    """malpighi's own steps, files and features included."""
    nucleus, cell, _ = image
    cells = find_cells(nucleus, cell, OPTIONS)
    four = np.concatenate([nucleus[None], cell, nucleus[None]])
    names = ("blue", "red", "yellow", "green")
    out = Table("step", "s an image", "CPU s", title="steps of malpighi, medians")
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{name}.png") for name in names]
        for path, channel in zip(paths, four, strict=True):
            cv2.imwrite(path, channel)
        steps: dict[str, Callable[[], object]] = {
            "four PNGs decoded": lambda: [cv2.imread(path, cv2.IMREAD_UNCHANGED) for path in paths],
            "cells": lambda: find_cells(nucleus, cell, OPTIONS),
            "features": lambda: cell_features(cells, four, names, "green"),
        }
        total = 0.0
        for name, step in steps.items():
            step()
            times, cpu = [], []
            for _ in range(rounds):
                start = time.perf_counter(), time.process_time()
                step()
                times.append(time.perf_counter() - start[0])
                cpu.append(time.process_time() - start[1])
            total += statistics.median(cpu)
            out.add_row(name, f"{statistics.median(times):.3f}", f"{statistics.median(cpu):.3f}")
    out.add_row("images a CPU s, from PNG to features", "", f"{1 / total:.1f}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of OpenCV")
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    console = Console()
    images = {"drawn 2048²": drawn()}
    if (options.data / "single_cells").is_dir():
        images["383_d2_1 2048²"] = real(options.data)
    for title, image in images.items():
        console.print(compare(title, image, options.rounds))
    console.print(stages(list(images.values())[-1], options.rounds))


if __name__ == "__main__":
    main()
