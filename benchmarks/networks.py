"""What a training step of the networks for volumes costs on this machine, and what each loss adds.

    python benchmarks/networks.py [--threads 2] [--repeats 5] [--only NAME]

Networks are timed in turns (round after round over all of them), so that a busy machine slows all alike; the table holds
medians and their ratio to the first row, which is the network of `malpighi demo` on slides.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from malpighi.models.build import ModelOptions, build_network
from malpighi.models.losses import TERMS, LossOptions, build_loss
from malpighi.models.outputs import Outputs

LIGHT, LIGHTER = (64, 48, 32, 24, 16), (48, 32, 24, 16, 16)
THREE = {"pretrained": "never", "slices_in": 3, "slices_out": 3}
PLANE, CUBE = (8, 1, 3, 128, 128), (2, 1, 64, 64, 64)
NETWORKS: dict[str, tuple[ModelOptions, tuple[int, ...]]] = {
    "demo of slides: unet regnetx_002": (ModelOptions("unet", "regnetx_002", "never", LIGHT), (8, 3, 160, 160)),
    "3→3 unet regnetx_002": (ModelOptions("unet", "regnetx_002", decoder_channels=LIGHT, **THREE), PLANE),
    "3→3 unet regnetx_002 + stem": (ModelOptions("unet", "regnetx_002", decoder_channels=LIGHT, stem=True, **THREE), PLANE),
    "3→3 unet resnet10t": (ModelOptions("unet", "resnet10t", decoder_channels=LIGHT, **THREE), PLANE),
    "3→3 unet resnet10t, lighter": (ModelOptions("unet", "resnet10t", decoder_channels=LIGHTER, **THREE), PLANE),
    "3→3 unet resnet18": (ModelOptions("unet", "resnet18", decoder_channels=(128, 64, 32, 32, 16), **THREE), PLANE),
    "3→3 unet++ resnet10t": (ModelOptions("unet++", "resnet10t", decoder_channels=LIGHT, **THREE), PLANE),
    "3→3 unet convnext_atto + stem": (ModelOptions("unet", "convnext_atto", decoder_channels=LIGHT, stem=True, **THREE), PLANE),
    "3→3 attention-unet 16…128": (ModelOptions("attention-unet", widths=(16, 32, 64, 128), **THREE), PLANE),
    "res-unet3d 8…64": (ModelOptions("res-unet3d", widths=(8, 16, 32, 64)), CUBE),
    "res-unet3d 16…128": (ModelOptions("res-unet3d", widths=(16, 32, 64, 128)), CUBE),
    "dynunet 8…64": (ModelOptions("dynunet", widths=(8, 16, 32, 64)), CUBE),
    "segresnet 8…64": (ModelOptions("segresnet", widths=(8, 16, 32, 64)), CUBE),
    "attention-unet3d 8…64": (ModelOptions("attention-unet3d", widths=(8, 16, 32, 64)), CUBE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="networks whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, {options.threads} threads, float32, medians of {options.repeats}")
    console.print(_networks(options.repeats, options.only))
    console.print(_losses(options.repeats))


def _networks(repeats: int, only: str) -> Table:
    chosen = {name: (_step(*made), made) for name, made in NETWORKS.items() if only in name}
    seconds = _in_turns({name: step for name, (step, _) in chosen.items()}, repeats)
    first = next(iter(seconds.values()))
    table = Table("network", "parameters", "tile", "step", "ratio", "Mvoxel/s", title="a training step")
    for name, (_, (options, shape)) in chosen.items():
        size = sum(p.numel() for p in build_network(options, shape[1], 1).parameters())
        rate = torch.Size((shape[0], *shape[2:])).numel() / seconds[name] / 1e6
        row = (f"{size / 1e6:.2f} M", " × ".join(map(str, shape)), f"{seconds[name]:.3f} s", f"{seconds[name] / first:.2f}")
        table.add_row(name, *row, f"{rate:.2f}")
    return table


def _step(options: ModelOptions, shape: tuple[int, ...]) -> Callable[[], object]:
    network = build_network(options, shape[1], 1).train()
    optimiser = torch.optim.AdamW(network.parameters())
    loss = build_loss(LossOptions())
    images, target = torch.rand(shape), (torch.rand(shape[0], 1, *shape[2:]) > 0.95).byte()

    def step() -> None:
        loss(network(images), target).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _losses(repeats: int) -> Table:
    table = Table("loss", *(" × ".join(map(str, shape)) for shape in (PLANE, CUBE)), title="forward and backward of a loss")
    steps = {(name, shape): _cost(name, shape) for name in TERMS for shape in (PLANE, CUBE)}
    seconds = _in_turns(steps, repeats)
    for name in TERMS:
        table.add_row(name, *(f"{1e3 * seconds[name, shape]:.0f} ms" for shape in (PLANE, CUBE)))
    return table


def _cost(name: str, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    loss = build_loss(LossOptions(name))
    logits = torch.randn(shape, requires_grad=True)
    target = (torch.nn.functional.avg_pool3d(torch.randn(shape), (1, 9, 9), 1, (0, 4, 4)) > 0.15).byte()
    return lambda: loss(Outputs(logits), target).backward()


def _in_turns(steps: dict, repeats: int) -> dict:
    seconds: dict = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


if __name__ == "__main__":
    main()
