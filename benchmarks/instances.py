"""Instances: seconds a megapixel of decoding beside scikit-image's pipelines, milliseconds a tile of targets, seconds of stitching.

    python benchmarks/instances.py [../shared/data/nuclei/labels] [--side 8192]

Layers are made of true labels, then blurred and given noise, as a network gives them. With no folder of label images the objects
are discs that touch. Compiled loops are compiled before the clock starts; the best of three runs counts, in seconds of CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Box
from malpighi.metrics.instances import Intersections, average_precisions
from malpighi.objects.instances import InstanceOptions, decode
from malpighi.objects.stitch import stitch
from malpighi.sampling.instance_targets import instance_targets


def mosaic(folder: Path | None, side: int, seed: int = 0) -> np.ndarray:
    """(side, side) labels: crops of 256² of label images, side by side; or discs."""
    random = np.random.default_rng(seed)
    paths = sorted(folder.glob("*.png")) if folder else []
    out = np.zeros((side, side), np.int32)
    for box in Box.of_shape(out.shape).split((256, 256)):
        tile = _crop(paths[random.integers(len(paths))]) if paths else _discs(random)
        tile = tile[: box.size[0], : box.size[1]]
        out[box.slices] = np.where(tile > 0, tile + out.max(), 0)
    return out


def _crop(path: Path) -> np.ndarray:
    from PIL import Image

    labels = np.asarray(Image.open(path)).astype(np.int32)[:256, :256]
    return np.pad(labels, [(0, 256 - n) for n in labels.shape])


def _discs(random: np.random.Generator) -> np.ndarray:
    labels, (y, x) = np.zeros((256, 256), np.int32), np.indices((256, 256))
    for number in range(1, 41):
        away = np.hypot(y - random.uniform(0, 256), x - random.uniform(0, 256))
        labels[(away < random.uniform(8, 16)) & (labels == 0)] = number
    return labels


def spoiled(layers: np.ndarray, seed: int = 0) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    grain = np.stack([gaussian_filter(random.normal(size=layer.shape), 1.5) for layer in layers])
    soft = np.stack([gaussian_filter(layer, 1.0) for layer in layers])
    return np.clip(soft + 0.05 * grain / grain.std(), 0, 1).astype(np.float32)


def peaks(layers: np.ndarray) -> np.ndarray:
    """What tutorials do: local maxima some pixels apart as seeds."""
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian
    from skimage.segmentation import watershed

    mask, height = layers[0] >= 0.5, gaussian(layers[1], 1.0)
    seeds = np.zeros(mask.shape, np.int32)
    at = peak_local_max(height, min_distance=5, labels=mask.astype(int), exclude_border=False)
    seeds[tuple(at.T)] = np.arange(1, len(at) + 1)
    return watershed(-height, seeds, mask=mask)


def h_maxima(layers: np.ndarray) -> np.ndarray:
    """The same seeds as ours: h-maxima by reconstruction."""
    from scipy.ndimage import label
    from skimage.filters import gaussian
    from skimage.morphology import reconstruction
    from skimage.segmentation import watershed

    mask = layers[0] >= 0.5
    height = np.where(mask, gaussian(layers[1], 1.0), 0)
    risen = height - reconstruction(np.maximum(height - 0.15, 0), height)
    seeds = label((risen >= 0.15 - 1e-6) & mask, np.ones((3, 3)))[0]
    return watershed(-height, seeds, mask=mask)


def best(work: Callable[[], np.ndarray], times: int = 3) -> tuple[float, np.ndarray]:
    found, seconds = work(), []
    for _ in range(times):
        start = time.process_time()
        found = work()
        seconds.append(time.process_time() - start)
    return min(seconds), found


def precision(found: np.ndarray, labels: np.ndarray) -> str:
    shared = Intersections()
    shared.add(found, labels)
    scores = average_precisions(shared.pairs())
    return f"{scores[0.5]:.3f} {np.mean(list(scores.values())):.3f}"


def decoding(labels: np.ndarray) -> Table:
    layers = {kind: spoiled(instance_targets(labels[None], kind)[0]) for kind in ("distance", "flow")}
    ways: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
        "malpighi distance": ("distance", lambda x: decode(x, InstanceOptions("distance"))),
        "malpighi flow": ("flow", lambda x: decode(x, InstanceOptions("flow"))),
        "scikit-image peak_local_max + watershed": ("distance", peaks),
        "scikit-image h-maxima + watershed": ("distance", h_maxima),
    }
    filled = f"{labels.shape[0]}², {len(np.unique(labels)) - 1} objects, {(labels > 0).mean():.0%} foreground"
    table = Table("decoding", "s / Mpx", "× ours", "AP50, mean AP", title=filled)
    first = 0.0
    for name, (kind, work) in ways.items():
        seconds, found = best(lambda work=work, kind=kind: work(layers[kind]))
        first = first or seconds
        table.add_row(name, f"{seconds / labels.size * 1e6:.3f}", f"{seconds / first:.1f}", precision(found, labels))
    return table


def targets(labels: np.ndarray) -> Table:
    from scipy.ndimage import distance_transform_edt, find_objects

    tiles = np.stack([labels[box.slices] for box in Box.of_shape(labels.shape).split((256, 256))])[:16]

    def scipy() -> np.ndarray:
        out = np.zeros(tiles.shape)
        for tile, layer in zip(tiles, out, strict=True):
            for number, where in enumerate(find_objects(tile), start=1):
                if where is None:
                    continue
                mask = np.pad(tile[where] == number, 1)
                depth = distance_transform_edt(mask)[1:-1, 1:-1]
                layer[where] += depth / max(depth.max(), 1)
        return out

    objects = np.mean([len(np.unique(tile)) - 1 for tile in tiles])
    table = Table("targets", "ms / tile", title=f"{len(tiles)} tiles of 256², {objects:.0f} objects each")
    for name, work in {
        "malpighi distance": lambda: instance_targets(tiles, "distance"),
        "malpighi flow": lambda: instance_targets(tiles, "flow"),
        "SciPy distance_transform_edt, object by object": scipy,
    }.items():
        table.add_row(name, f"{best(work)[0] / len(tiles) * 1e3:.2f}")
    return table


def stitching(labels: np.ndarray, side: int) -> Table:
    """The mosaic repeated to `side`, so that neither layers nor labels are ever whole in memory."""
    table = Table("stitching", "s", "of it decoding", "objects", title=f"{side}², blocks of 1024², halo 128")
    for kind in ("distance", "flow"):
        layers, options = spoiled(instance_targets(labels[None], kind)[0]), InstanceOptions(kind)
        spent = [0.0]

        def read(box: Box, layers: np.ndarray = layers, options: InstanceOptions = options, spent: list = spent) -> np.ndarray:
            start = time.process_time()
            y, x = (np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, layers.shape[1:], strict=True))
            found = decode(layers[:, y[:, None], x], options)
            spent[0] += time.process_time() - start
            return found

        read(Box((0, 0), (64, 64)))
        spent[0] = 0.0
        start = time.process_time()
        count = stitch(read, (side, side), lambda box, found: None, block=(1024, 1024), halo=128)
        seconds = time.process_time() - start
        table.add_row(kind, f"{seconds:.1f}", f"{spent[0]:.1f}", str(count))
    return table


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, nargs="?", help="a folder of label images (PNG)")
    parser.add_argument("--side", type=int, default=8192, help="of the image that is stitched")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    labels = mosaic(chosen.labels, 1024)
    for table in (decoding(labels), targets(labels), stitching(labels, chosen.side)):
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
