"""Does training on prepared images and crops wait for its data? What a sample costs to read and augment, and to learn from.

Images of 2048² × 4 with 16 cells are written as `prepare` writes them (without looking for cells), then read at random with
standard augmentation in one thread; beside it a ResNet18's step on a batch that is already there, on this machine's device.

    python benchmarks/feed_cells.py [--batches 6]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from malpighi.models.classifier import build_classifier
from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.models.label_losses import build_label_loss
from malpighi.objects.cells import Cells
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.balance import balanced_draw
from malpighi.sampling.cell_batches import CellBatches, CropItems, ImageItems
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.cell_folder import ImageRow, Sizes, finish, write_image
from malpighi.sampling.intensity import Intensity
from malpighi.training.allocator import keep_freed_pages
from malpighi.training.machine import device_facts

IMAGES, SIDE, ACROSS = 8, 2048, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=6)
    count = parser.parse_args().batches
    keep_freed_pages()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder))
        print(f"\n{'':<22}{'sample, ms':>12}{'step alone, ms a sample':>26}")
        augmentation = AugmentOptions(hue=0, saturation=0, stain=0)
        crops = data.targets[data.image_of]
        for name, items, targets, batch in (
            ("images 512²", ImageItems(data), data.targets, 8),
            ("images and cells 512²", ImageItems(data, masked=True), data.targets, 8),
            ("crops 128²", CropItems(data), crops, 32),
        ):
            draw = balanced_draw(targets, 0.5, 0)
            batches = CellBatches(items, targets, draw, augmentation, batch, seed=0, threads=1)
            print(f"{name:<22}{timed(batches.make, count) / batch:>12.2f}{step(batches, count) / batch:>26.2f}")


def write(folder: Path) -> CellData:
    """A prepared folder; says what writing an image took."""
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(0, 255, (SIDE, SIDE, 4), np.uint8), (0, 0), 2).transpose(2, 0, 1).copy()
    labels = np.zeros((SIDE, SIDE), np.int32)
    pitch = SIDE // ACROSS
    for n in range(ACROSS**2):
        top, left = (n // ACROSS) * pitch, (n % ACROSS) * pitch
        labels[top + 20 : top + pitch - 20, left + 20 : left + pitch - 20] = n + 1
    cells = Cells(labels, labels, np.zeros(ACROSS**2, bool))
    began = time.perf_counter()
    for i in range(IMAGES):
        write_image(folder, str(i), image, cells, Sizes(side=512, crop=128, margin=0.05))
    print(f"writing an image of {SIDE}² × 4 and its {cells.count} crops: {(time.perf_counter() - began) / IMAGES * 1e3:.0f} ms")
    rows = [ImageRow(str(i), str(i), "", ("AB"[i % 2],)) for i in range(IMAGES)]
    finish(folder, rows, {"classes": "AB", "channels": ["red", "green", "blue", "yellow"], "side": 512, "crop": 128})
    return CellData.open(folder)


def timed(make, count: int) -> float:
    """Median milliseconds of `make(n)`, after one that warms up."""
    times = []
    for n in range(count + 1):
        began = time.perf_counter()
        make(n)
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:])) * 1e3


def step(batches: CellBatches, count: int) -> float:
    """Median milliseconds of a training step on a batch that is there."""
    device = str(device_facts()["device"])
    masked = isinstance(batches.items, ImageItems) and batches.items.masked
    network = build_classifier(ClassifierOptions("resnet18", "never", masked=masked), 4, 2).to(device)
    network = network.to(memory_format=torch.channels_last).train()
    optimiser, loss = torch.optim.AdamW(network.parameters()), build_label_loss(LabelLossOptions())
    raw, target = batches.make(0)
    x = torch.from_numpy(Intensity((0.0,) * raw.shape[1], (255.0,) * raw.shape[1]).apply(raw)).to(device)
    x, y = x.contiguous(memory_format=torch.channels_last), torch.from_numpy(target).to(device)

    def learn(_: int) -> None:
        loss(network(x), y).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return timed(learn, count)


if __name__ == "__main__":
    main()
