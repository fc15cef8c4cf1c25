"""Does training wait for its data? Share of the wall time that the step waits for the next batch.

A ResNet18 U-Net on 8 × 256² tiles of phantom slides (tiled JPEG TIFF), standard augmentation, one reading thread; beside it
what making a batch costs in that thread, and the step alone on a batch that is already there (the floor).

    python benchmarks/feed.py [--steps 30]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from malpighi.annotations.geojson import write_geojson
from malpighi.models.build import ModelOptions, build_network
from malpighi.models.losses import LossOptions, build_loss
from malpighi.phantoms import SlidePhantom
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import open_case
from malpighi.sampling.dataset import TileBatches
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.intensity import IntensityOptions, measure_intensity
from malpighi.sampling.layouts import find_cases
from malpighi.training.allocator import keep_freed_pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args().steps
    keep_freed_pages()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(2):
            phantom = SlidePhantom((3072, 3072), seed=seed)
            phantom.write(Path(folder) / f"{seed}.tiff")
            write_geojson(Path(folder) / f"{seed}.geojson", phantom.truth())
        table = find_cases(Path(folder))
        cases = [open_case(case, table.classes) for case in table.cases]
        native = cases[0].source.space.spacing
        print(f"{'read at':<22}{'batch, ms':>10}{'step alone, ms':>16}{'with loading, ms':>18}{'waiting, share of wall':>24}")
        for name, spacing in {
            "level 0 (1 µm)": native,
            "half (2 µm)": native.times(2),
            "a ratio of 1.3": native.times(1.3),
        }.items():
            print_row(name, cases, spacing, steps)


def print_row(name: str, cases: list, spacing, steps: int) -> None:
    tile = (256, 256)
    foreground = [find_foreground(case.annotation, spacing, tile) for case in cases]
    draw = sampler(SamplerOptions(), [case.source.space.shape_at(spacing) for case in cases], tile, 0, foreground)
    batches = TileBatches(cases, draw, spacing, tile, 1.25, AugmentOptions(), batch=8, seed=0, threads=1)
    intensity = measure_intensity([case.source for case in cases], IntensityOptions())
    step = make_step(len(cases[0].annotation.classes), intensity)
    made = [clock(lambda n=n: batches.make(n))[0] for n in range(5)]
    _, batch = clock(lambda: batches.make(0))
    alone = [clock(lambda: step(batch))[0] for _ in range(steps // 3)]
    stream = batches(0)
    waits, walls = [], []
    for _ in range(steps):
        waited, batch = clock(lambda: next(stream))
        stepped, _ = clock(lambda batch=batch: step(batch))
        waits.append(waited)
        walls.append(waited + stepped)
    stream.close()
    share = sum(waits[2:]) / sum(walls[2:])
    row = [1e3 * statistics.median(v) for v in (made, alone, walls[2:])]
    print(f"{name:<22}{row[0]:>10.0f}{row[1]:>16.0f}{row[2]:>18.0f}{share:>24.1%}")


def make_step(classes: int, intensity):
    options = ModelOptions("unet", "resnet18", "never", decoder_channels=(128, 64, 32, 32, 16))
    network = build_network(options, 3, classes).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters())
    loss = build_loss(LossOptions())

    def step(batch) -> None:
        images = intensity.apply(torch.from_numpy(batch.images)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = network(images)
        loss(outputs, torch.from_numpy(batch.targets)).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def clock(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
