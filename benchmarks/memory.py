"""Peak memory of a whole prediction (slide → labels on disk) on phantom slides of growing size: it should not grow.

    python benchmarks/memory.py --sides 10000 30000 100000 --folder /tmp/phantoms

Each slide is predicted in a process of its own, with a network that takes neither time nor memory and says "yes" where
the tile is dark, so that what is seen is the engine, the reader and the writer. Slides are kept in --folder and reused.
A phantom of 100,000² takes 2 GB of disk and some minutes to write. Linux only: the kernel counts the peaks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table


def dark(tiles: np.ndarray) -> np.ndarray:
    """Probability by darkness of the green channel, which both stains take away."""
    return (1 - tiles[:, 1:2] / np.float32(255)).astype(np.float32)


def peak_mb(reset: bool = False) -> float:
    """Most resident memory of this process so far, or since the last reset."""
    status = Path("/proc/self/status").read_text()
    found = float(status.split("VmHWM:")[1].split()[0]) / 1000
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return found


def predict_one(path: Path, folder: Path, torch: bool) -> dict[str, float]:
    """Everything `malpighi segment` does to one slide before objects are made of it."""
    if torch:
        import torch as _  # noqa: F401  (its libraries are resident in a real run)
    from malpighi.images.open import open_image
    from malpighi.inference.options import PredictOptions
    from malpighi.inference.predict import predict
    from malpighi.inference.progress import Progress
    from malpighi.inference.store import PredictionStore
    from malpighi.sampling.blank import tissue_mask

    facts, progress, options = {"start": peak_mb(reset=True)}, Progress(), PredictOptions()
    with open_image(path) as source:
        spacing, shape = source.space.spacing, source.shape
        mask = tissue_mask(source)
        facts["glass"] = peak_mb(reset=True)
        started = time.perf_counter()
        with PredictionStore(folder, shape, spacing, ("dark",), options.limits(1), overwrite=True) as store:
            tiles = predict(
                dark,
                source,
                spacing,
                1,
                options,
                keep=lambda box: mask.any(box, spacing),
                align=store.align,
                done=store.done,
                progress=progress,
            )
            for box, values in tiles:
                store.add(box, values)
            facts["predict"] = peak_mb(reset=True)
            store.finish()
        facts["finish"] = peak_mb()
    own = len(options.grid(shape))
    return facts | {
        "tiles": progress.tiles,
        "skipped": progress.skipped,
        "twice": progress.total / own - 1,
        "seconds": time.perf_counter() - started,
    }


def phantom(side: int, folder: Path) -> Path:
    """The slide of this side, written if it is not there."""
    from malpighi.phantoms.slide import SlidePhantom

    path = folder / f"phantom-{side}.tif"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        period = 8192 if side > 20_000 else None  # larger ones repeat, or drawing them would take hours
        SlidePhantom((side, side), spacing=0.5, period=period).write(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path("phantoms"))
    parser.add_argument("--torch", action="store_true", help="import torch first, as a real run does")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(predict_one(chosen.one, chosen.folder, chosen.torch)))
        return

    table = Table(title="MB resident at most, by stage; one process a slide")
    columns = ("side", "start", "find glass", "predict + write", "pyramid", "tiles", "skipped", "predicted twice", "seconds")
    for column in columns:
        table.add_column(column, justify="right")
    peaks = []
    for side in track(chosen.sides, "slides", console=Console(stderr=True)):
        output = chosen.folder / f"prediction-{side}"
        command = [sys.executable, __file__, "--one", str(phantom(side, chosen.folder)), "--folder", str(output)]
        ran = subprocess.run(command + ["--torch"] * chosen.torch, check=True, capture_output=True, text=True)
        facts = json.loads(ran.stdout.splitlines()[-1])
        shutil.rmtree(output)
        peaks.append(max(facts["predict"], facts["finish"]))
        numbers = [f"{facts[key]:,.0f}" for key in ("start", "glass", "predict", "finish", "tiles", "skipped")]
        table.add_row(f"{side:,}", *numbers, f"{facts['twice']:.1%}", f"{facts['seconds']:.0f}")
    Console(width=130).print(table)
    middle = (max(peaks) + min(peaks)) / 2
    print(f"peak {min(peaks):,.0f} … {max(peaks):,.0f} MB: ± {(max(peaks) - middle) / middle:.1%}")


if __name__ == "__main__":
    main()
