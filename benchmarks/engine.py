"""What a sliding-window engine costs beside the network, and the memory it takes.

    uv venv /tmp/peers && uv pip install --python /tmp/peers/bin/python . -r benchmarks/requirements.txt
    /tmp/peers/bin/python benchmarks/engine.py

A slide (tiled JPEG TIFF) is predicted from file to finished probabilities by each engine in turn, with a network that takes
no time (the engine's own cost a tile) and one that takes 3 ms a tile without using the CPU, as a GPU does (times the floor:
bare forward passes, as many). Rounds are interleaved; medians. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.inference.options import PredictOptions
from malpighi.inference.predict import predict

TILE, OVERLAP, BATCH = 512, 0.25, 4


@dataclass
class Network:
    """A network that takes `seconds` a tile and no CPU, and counts its tiles."""

    seconds: float
    tiles: int = 0

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.tiles += len(tiles)
        if self.seconds:
            time.sleep(self.seconds * len(tiles))
        return np.full((len(tiles), 1, *tiles.shape[2:]), 0.5, np.float32)


def ours(path: Path, network: Network, **options: object) -> None:
    with open_image(path) as source:
        for _ in predict(network, source, source.space.spacing, 1, PredictOptions(TILE, OVERLAP, batch=BATCH, **options)):
            pass


def ours_center(path: Path, network: Network) -> None:
    ours(path, network, window="center")


def monai(path: Path, network: Network) -> None:
    """The whole image as a tensor (float32: its buffers take the type of the input), gaussian blending into a whole logits tensor."""
    import torch
    from monai.inferers import sliding_window_inference

    with open_image(path) as source:
        image = torch.from_numpy(np.ascontiguousarray(source.read(Box.of_shape(source.shape)))[None]).float()
    sliding_window_inference(
        image, (TILE, TILE), BATCH, lambda x: torch.from_numpy(network(x.numpy())), overlap=OVERLAP, mode="gaussian"
    )


def naive(path: Path, network: Network) -> None:
    """What notebooks do: OpenSlide regions one by one, a sum and a count as large as the image."""
    import openslide

    step = int(TILE * (1 - OVERLAP))
    with openslide.OpenSlide(str(path)) as slide:
        width, height = slide.dimensions
        total, count = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        for y in range(0, height - TILE + step, step):
            for x in range(0, width - TILE + step, step):
                y0, x0 = min(y, height - TILE), min(x, width - TILE)
                tile = np.asarray(slide.read_region((x0, y0), 0, (TILE, TILE)).convert("RGB"))
                tile = np.ascontiguousarray(tile.transpose(2, 0, 1)[None]).astype(np.float32) / 255
                answer = network(tile)[0, 0]
                total[y0 : y0 + TILE, x0 : x0 + TILE] += answer
                count[y0 : y0 + TILE, x0 : x0 + TILE] += 1
        total /= count


def floor(path: Path, network: Network) -> None:
    """As many bare forward passes as `ours` makes."""
    with open_image(path) as source:
        tiles = len(PredictOptions(TILE, OVERLAP).grid(source.shape))
    batch = np.zeros((BATCH, 3, TILE, TILE), np.uint8)
    for _ in range(-(-tiles // BATCH)):
        network(batch)


def slide(path: Path, side: int) -> None:
    """Coloured noise, smooth and grainy, as a tiled JPEG TIFF: decodes like tissue."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(60, 255, (side // 16, side // 16, 3), np.uint8), (side, side))
    grain = cv2.resize(rng.integers(0, 24, (side // 2, side // 2, 3), np.uint8), (side, side))
    tifffile.imwrite(
        path,
        cv2.subtract(coarse, grain),
        tile=(512, 512),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 85},
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )


def measured(engines: dict[str, Callable[[Path, Network], None]], path: Path, seconds: float, rounds: int) -> dict[str, list]:
    """For each engine (seconds, tiles) of every round."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            network = Network(seconds)
            started = time.perf_counter()
            engine(path, network)
            found[name].append((time.perf_counter() - started, network.tiles))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network-ms", type=float, default=3.0)
    parser.add_argument("--plain-allocator", action="store_true", help="do not keep freed pages, as `malpighi segment` does")
    chosen = parser.parse_args()
    if not chosen.plain_allocator:
        from malpighi.training.allocator import keep_freed_pages

        keep_freed_pages()

    engines: dict[str, Callable[[Path, Network], None]] = {"malpighi, gaussian": ours, "malpighi, center": ours_center}
    if importlib.util.find_spec("monai"):
        engines["MONAI sliding_window_inference, gaussian"] = monai
    else:
        print("MONAI is not installed and is left out")
    engines |= {"naive loop over OpenSlide": naive, "floor: bare forward passes": floor}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        slide(path, chosen.side)
        free = measured(engines, path, 0, chosen.rounds)
        busy = measured(engines, path, chosen.network_ms / 1000, chosen.rounds)
    table = Table(title=f"{chosen.side}² RGB, {TILE}² tiles, overlap {OVERLAP}, one class; medians of {chosen.rounds} rounds")
    for column in ("engine", "tiles", "ms a tile, no network", f"seconds, {chosen.network_ms:g} ms network", "× floor, a tile"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    per_tile = {name: [t / n for t, n in rounds] for name, rounds in busy.items()}
    base = per_tile["floor: bare forward passes"]
    for name in engines:
        ratio = statistics.median(a / b for a, b in zip(per_tile[name], base, strict=True))
        alone = statistics.median(t / n for t, n in free[name]) * 1000
        total = statistics.median(t for t, _ in busy[name])
        table.add_row(name, str(busy[name][0][1]), f"{alone:.2f}", f"{total:.2f}", f"{ratio:.2f}")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
