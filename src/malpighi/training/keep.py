"""Which weights a run ends with: those of one validation, or a mean over several, or over many steps.

All are of the averaged network where there is an exponential moving average (`optim.average`), else of the network itself. Means take
in every floating tensor, batch norms' running statistics too; but these describe features of other weights, so `finish` measures them
anew. Until a run ends its `weights.safetensors` are those of the best validation.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from malpighi.errors import DataError
from malpighi.training.checkpoint import save_tensors
from malpighi.training.options import TrainOptions

FOLDER = "kept"
SWA_FROM = 0.75  # of all steps: the last quarter


class Keep:
    """Gathers what `train.keep` asks for while a run goes on.

    "top" and "snapshots" hold one file a validation, `kept/step-N.safetensors`: of those that count, and one more until the next checkpoint,
    so that a run that is killed finds what its checkpoint names. "swa" holds one more network in memory and in the checkpoint.
    """

    def __init__(self, options: TrainOptions, run: Path) -> None:
        self.kind, self.count, self.folder = options.keep, options.keep_count, run / FOLDER
        self.swa_from = SWA_FROM * options.steps
        self.members: list[tuple[int, float]] = []  # (step, score) of validations that count
        self.steps = 0  # in the mean over steps
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def stepped(self, step: int, network: nn.Module) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        if self.kind != "swa" or step <= self.swa_from:
            return
        self.steps += 1
        state = network.state_dict()
        if not self.mean:
            self.mean = {key: value.detach().clone() for key, value in state.items()}
            return
        floating = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.mean[key] for key in floating], [state[key] for key in floating], 1 / self.steps)
        for key in state.keys() - set(floating):
            self.mean[key].copy_(state[key])

    def validated(self, step: int, score: float, network: nn.Module) -> None:
        """Take in a validation: its weights are written if they count, for the moment."""
        if self.kind not in ("top", "snapshots"):
            return
        members = [member for member in self.members if member[0] != step] + [(step, score)]
        if self.kind == "top":
            members.sort(key=lambda member: (-member[1], member[0]))  # of equals the first, as in the best
            members = members[: self.count]
        self.members = members[-self.count :]
        if any(member[0] == step for member in self.members):
            self.folder.mkdir(exist_ok=True)
            save_tensors(self._path(step), network)

    def prune(self) -> None:
        """Remove what counts no more. Only after the checkpoint that says so: an older one may still name it."""
        wanted = {self._path(step) for step, _ in self.members}
        for path in self.folder.glob("step-*"):
            if path not in wanted:
                path.unlink()

    def clear(self) -> None:
        """Remove all files; the run has its weights."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def averaged(self) -> dict[str, Tensor]:
        """The mean, by name as in the network's state; floating tensors in their own type.

        Files are read tensor by tensor, so that memory holds one network however many there are.

        Raises:
            DataError: a file that counts is gone.
        """
        return self.mean if self.kind == "swa" else mean_of_files([self._path(step) for step, _ in self.members])

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"members": [list(member) for member in self.members], "steps": self.steps, "mean": self.mean}

    def load_state_dict(self, state: dict[str, Any], like: nn.Module) -> None:
        """Go on from a checkpoint, with tensors where those of `like` are."""
        self.members = [(int(step), float(score)) for step, score in state["members"]]
        self.steps = state["steps"]
        where = like.state_dict()
        self.mean = {key: value.to(where[key].device) for key, value in state["mean"].items()}


def mean_of_files(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of tensors of the same names in safetensors files, summed in float64; of integers the last file's.

    Raises:
        DataError: one cannot be read.
    """
    from contextlib import ExitStack

    from safetensors import safe_open

    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]} is gone, which the run's weights are a mean of; train again with --overwrite")
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, "pt")) for path in paths]
        found = {}
        for key in files[0].keys():  # noqa: SIM118 (no mapping)
            last = files[-1].get_tensor(key)
            if last.is_floating_point():
                total = sum(file.get_tensor(key).double() for file in files)
                last = (total / len(files)).to(last.dtype)
            found[key] = last
        return found
