"""Peak memory and read amplification of a whole prediction (OME-Zarr → labels on disk) on volumes of growing size.

    python benchmarks/volume_memory.py --sides 256 512 1024 --folder /tmp/volumes

Each volume (8-bit noise in chunks of 128³, or --chunk) is predicted in a process of its own, tiles of 128³ at half overlap,
Gaussian windows, and written as `malpighi segment` does. The network takes hardly any time: one threshold-like ramp in NumPy,
or with --torch two 1×1×1 convolutions over --width channels, which hold what a network's first layers hold. What is seen is
the engine, the reader and the writer. "Amplification" is voxels decoded over voxels of the volume; "kept" is what the
unfinished part of the result and the cache of chunks may take. Volumes are kept in --folder and reused. Linux only: the
kernel counts the peaks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table


def bright(tiles: np.ndarray) -> np.ndarray:
    """Probability by brightness."""
    out = tiles.astype(np.float32)
    out *= np.float32(1 / 255)
    return out


def tiny(width: int) -> Callable[[np.ndarray], np.ndarray]:
    """A network of two layers, as `segment` runs one."""
    import torch

    from malpighi.inference.backends import torch_forward
    from malpighi.models.outputs import Outputs
    from malpighi.sampling.intensity import Intensity

    class Tiny(torch.nn.Module):
        rank = 3

        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv3d(1, width, 1), torch.nn.ReLU(), torch.nn.Conv3d(width, 1, 1))

        def forward(self, x: torch.Tensor) -> Outputs:
            return Outputs(self.layers(x))

    return torch_forward(Tiny(), Intensity((128.0,), (64.0,)))


def peak_mb(reset: bool = False) -> float:
    """Most resident memory of this process so far, or since the last reset."""
    status = Path("/proc/self/status").read_text()
    found = float(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return found


def predict_one(path: Path, folder: Path, width: int, options: dict[str, int]) -> dict[str, float]:
    """Everything `malpighi segment` does to one volume before objects are made of it."""
    forward = tiny(width) if width else bright
    from malpighi.images.cache import tiles
    from malpighi.images.open import open_image
    from malpighi.inference.options import PredictOptions
    from malpighi.inference.progress import Progress
    from malpighi.inference.store import PredictionStore
    from malpighi.sampling.intensity import Intensity
    from malpighi.tasks.image import predict_image
    from malpighi.tasks.model import TILE_CACHE_BYTES
    from malpighi.tasks.run import Inputs
    from malpighi.training.allocator import keep_freed_pages

    keep_freed_pages(megabytes=64)
    tiles.limit = TILE_CACHE_BYTES
    chosen = PredictOptions(tile=128, overlap=0.5, **options)
    facts, progress = {"start": peak_mb(reset=True)}, Progress()
    with open_image(path) as source:
        inputs = Inputs(("bright",), 1, source.space.spacing, Intensity((0.0,), (1.0,)))
        started = time.perf_counter()
        with PredictionStore(folder, source.shape, inputs.spacing, inputs.classes, (0.9,), overwrite=True) as store:
            for box, values in predict_image(forward, source, inputs, chosen, align=store.align, progress=progress):
                store.add(box, values)
            facts["predict"] = peak_mb(reset=True)
            store.finish()
        facts["finish"] = peak_mb()
        voxels = float(np.prod(source.shape))
    return facts | {
        "amplification": tiles.decoded / voxels,
        "cache": tiles.limit / 1e6,
        "tiles": progress.tiles,
        "twice": progress.total / len(chosen.grid(source.shape)) - 1,
        "seconds": time.perf_counter() - started,
        **{f"{stage}_s": seconds for stage, seconds in progress.seconds.items()},
    }


def volume(side: int, chunk: int, folder: Path) -> Path:
    """The volume of this side, written if it is not there: noise of 16 grey levels, which takes time to decode."""
    import zarr

    path = folder / f"noise-{side}-{chunk}.zarr"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".partial")
        array = zarr.create_array(part, shape=(side,) * 3, chunks=(chunk,) * 3, dtype="uint8", dimension_names=("z", "y", "x"))
        random = np.random.default_rng(0)
        for z in range(0, side, chunk):
            layer = random.integers(0, 256, (min(chunk, side - z), side, side), np.uint8) & 0xF0
            array[z : z + chunk] = layer
        part.rename(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=Path("volumes"))
    parser.add_argument("--torch", action="store_true", help="a network of two layers instead of a ramp in NumPy")
    parser.add_argument("--width", type=int, default=16, help="channels of that network")
    parser.add_argument("--memory-mb", type=int, default=0, help="predict.memory_mb; 0: the default")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    options = {"memory_mb": chosen.memory_mb, "batch": chosen.batch}
    if chosen.one:
        print(json.dumps(predict_one(chosen.one, chosen.folder, chosen.width * chosen.torch, options)))
        return

    table = Table(title="MB resident at most, by stage; one process a volume")
    names = (
        "side",
        "start",
        "predict + write",
        "pyramid",
        "chunk cache",
        "amplification",
        "tiles",
        "predicted twice",
        "seconds",
    )
    for name in names:
        table.add_column(name, justify="right")
    peaks, stages = [], []
    for side in track(chosen.sides, "volumes", console=Console(stderr=True)):
        output = chosen.folder / f"prediction-{side}"
        command = [sys.executable, __file__, "--one", str(volume(side, chosen.chunk, chosen.folder)), "--folder", str(output)]
        command += ["--width", str(chosen.width), "--batch", str(chosen.batch), "--memory-mb", str(chosen.memory_mb)]
        ran = subprocess.run(command + ["--torch"] * chosen.torch, check=True, capture_output=True, text=True)
        facts = json.loads(ran.stdout.splitlines()[-1])
        shutil.rmtree(output)
        peaks.append(max(facts["predict"], facts["finish"]))
        stages.append(f"{side}: " + ", ".join(f"{k[:-2]} {v:.0f} s" for k, v in facts.items() if k.endswith("_s")))
        numbers = [f"{facts[key]:,.0f}" for key in ("start", "predict", "finish", "cache")]
        more = [f"{facts['amplification']:.2f}", f"{facts['tiles']:,.0f}", f"{facts['twice']:.1%}", f"{facts['seconds']:.0f}"]
        table.add_row(f"{side:,}³", *numbers, *more)
    Console(width=130).print(table)
    print("\n".join(stages))
    middle = (max(peaks) + min(peaks)) / 2
    print(f"peak {min(peaks):,.0f} … {max(peaks):,.0f} MB: ± {(max(peaks) - middle) / middle:.1%}")


if __name__ == "__main__":
    main()
