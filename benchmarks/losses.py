"""What each term of the loss costs beside cross-entropy, forward and backward, and what of Lovász is its sort.

    python benchmarks/losses.py [--threads 1] [--repeats 7] [--device cpu] [--batch 8] [--side 512] [--classes 1 3] [--leave-out cldice …]

Terms are timed in turns (round after round over all of them), so that a busy machine slows all alike; the table holds medians and
their ratio to "bce". Logits are timed as a network gives them at first (normal noise) and as a trained one does (sure, wrong in one
voxel of a hundred): the hinge sorts only what is within its margin. Each term is what a recipe gets: "ce" and "lovasz-softmax" of
exclusive classes, the others of independent ones.
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

from malpighi.models.losses import EXCLUSIVE, TERMS, LossOptions, build_loss
from malpighi.models.outputs import Outputs

WRONG = 0.01
"""Share of voxels of which the trained network is wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--leave-out", nargs="*", default=[], choices=sorted(TERMS), help="terms that take too long")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} threads"
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, {where}, float32, medians of {options.repeats}")
    terms = [name for name in TERMS if name not in options.leave_out]
    for classes in options.classes:
        shape = (options.batch, classes, options.side, options.side)
        console.print(_table(terms, shape, options.repeats, options.device))


def _table(terms: list[str], shape: tuple[int, ...], repeats: int, device: str) -> Table:
    target = _target(shape).to(device)
    logits = {"at first": torch.randn(shape, device=device), "trained": _trained(target)}
    steps = {(name, kind): _cost(name, found, target) for name in terms for kind, found in logits.items()}
    for kind, found in logits.items():
        steps["a sort alone", kind] = _sort(found)
    seconds = _in_turns(steps, repeats, device)
    table = Table("term", *(text for kind in logits for text in (kind, "× bce")), title=" × ".join(map(str, shape)))
    for name in [*terms, "a sort alone"]:
        cells = ((seconds[name, kind], seconds["bce", kind]) for kind in logits)
        table.add_row(name, *(text for own, bce in cells for text in (f"{1e3 * own:.1f} ms", f"{own / bce:.1f}")))
    return table


def _target(shape: tuple[int, ...]) -> Tensor:
    """Blobs a dozen pixels wide, of classes that exclude one another, (batch, class, y, x) uint8."""
    torch.manual_seed(0)
    noise = torch.nn.functional.avg_pool2d(torch.randn(shape[0], shape[1] + 1, *shape[2:]), 13, 1, 6)
    number = noise.argmax(1)
    return torch.stack([number == k for k in range(1, shape[1] + 1)], 1).byte()


def _trained(target: Tensor) -> Tensor:
    """Logits of ±6 with some noise, of the wrong sign in `WRONG` of the voxels."""
    sign = 2.0 * target - 1
    flipped = torch.where(torch.rand_like(sign) < WRONG, -sign, sign)
    return 6 * flipped + torch.randn_like(sign)


def _cost(name: str, logits: Tensor, target: Tensor) -> Callable[[], object]:
    loss = build_loss(LossOptions(name), exclusive=name in EXCLUSIVE)
    logits = logits.clone().requires_grad_()

    def step() -> None:
        loss(Outputs(logits), target).backward()
        logits.grad = None

    return step


def _sort(logits: Tensor) -> Callable[[], object]:
    """Sorting the errors of every class, which the authors' formula does at each step."""
    flat = logits.transpose(0, 1).flatten(1)
    return lambda: flat.sort(1, descending=True)


def _in_turns(steps: dict, repeats: int, device: str) -> dict:
    seconds: dict = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


if __name__ == "__main__":
    main()
