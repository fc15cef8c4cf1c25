"""A small data set, a run of four steps on it, and the command line, for tests of whole commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from malpighi.cli import main

SETTINGS = (
    "train.steps=4", "train.batch=2", "train.validate_every=4", "train.loaders=1", "train.precision=float32",
    "train.channels_last=true", "data.tile=64", "predict.tile=64", "predict.batch=2", "sampling.kind=random",
    "model.encoder=resnet10t", "model.decoder_channels=[16,16,16,8,8]", "model.pretrained=never", "optim.rate=1e-3",
)  # fmt: skip
SMALLEST = [word for setting in SETTINGS for word in ("--set", setting)]
"""Options that make a run of seconds."""


@dataclass(frozen=True)
class Answer:
    """What a command answered: exit code, standard output, and standard error without progress bars."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of standard error."""
        return self.err.strip().splitlines()[-1]

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        (line,) = self.out.splitlines()
        return dict(json.loads(line))


def malpighi(*words: object) -> Answer:
    """Run a command in this process. An unexpected exception is raised here, as a bug."""
    if not main.app.registered_commands:
        main.register()
    result = CliRunner().invoke(main.app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def refused(answer: Answer, code: int, *words: str) -> None:
    """The command ended with `code`, one last line that says `words`, and nothing on standard output."""
    assert answer.code == code, answer.err
    assert answer.last.startswith("error: "), answer.err
    assert sum("error: " in line for line in answer.err.splitlines()) == 1
    for word in words:
        assert word in answer.last, answer.last
    assert answer.out == ""
    assert "Traceback" not in answer.err


def picture(seed: int, shape: tuple[int, int] = (96, 128)) -> tuple[np.ndarray, np.ndarray]:
    """(y, x, 3) uint8 with dark discs, and the discs as (y, x) uint8 of 0 and 1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for _ in range(3):
        cy, cx = random.integers(16, shape[0] - 16), random.integers(16, shape[1] - 16)
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < 144
    image = np.where(mask[..., None], (120, 60, 130), (220, 180, 210)) + random.normal(0, 8, (*shape, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask.astype(np.uint8)


def write_data(root: Path, cases: int = 3) -> Path:
    """images/ and masks/ of `cases` small pictures."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(cases):
        image, mask = picture(number)
        Image.fromarray(image).save(root / f"images/s{number}.png")
        Image.fromarray(mask).save(root / f"masks/s{number}.png")
    return root
