"""What a run leaves on disk and how it is read back: the last state, to go on from, and weights, to use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malpighi.errors import DataError, OutputError

LAST = "last.ckpt"
WEIGHTS = "weights.safetensors"


def save_last(run: Path, state: dict[str, Any]) -> None:
    """Write the state that `load_last` returns; the old one stays until the new one is whole."""
    _replace(run / LAST, lambda part: torch.save(state, part))


def load_last(run: Path) -> dict[str, Any] | None:
    """The last saved state, on the CPU; None where the run has none."""
    path = run / LAST
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken archive
        raise DataError(f"{path}: not a checkpoint of malpighi ({error}); delete it to start again") from error


def save_weights(run: Path, network: nn.Module, facts: dict[str, str]) -> None:
    """Write a network's weights with `facts` (strings) beside them, as those that the run is used with."""
    save_tensors(run / WEIGHTS, network, facts)


def save_tensors(path: Path, network: nn.Module, facts: dict[str, str] | None = None) -> None:
    """Write a network's weights and buffers as safetensors; an old file stays until the new one is whole."""
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    _replace(path, lambda part: save_file(tensors, part, metadata=facts))


def load_weights(run: Path, network: nn.Module) -> None:
    """Fill `network` with a run's weights.

    Raises:
        DataError: there are none, or they belong to another network.
    """
    from safetensors.torch import load_file

    path = run / WEIGHTS
    if not path.exists():
        raise DataError(f"{path} does not exist; {run} is not a finished `malpighi train` run")
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: weights do not fit {run / 'recipe.toml'} ({reason}…); copy the run folder again, or train again"
        ) from error


def _replace(path: Path, write: Any) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the new one, never half."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        os.replace(part, path)
    except Exception as error:  # torch and safetensors wrap the system's error in kinds of their own
        part.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:120]
        raise OutputError(
            f"{path}: cannot be written, the disk may be full ({reason}); free space and run the same command again"
        ) from error
