"""What pseudo-labels are worth where few images are labelled: glands of the colon, ten labelled images and the rest without.

    python benchmarks/pseudo_labels.py COLON_GLANDS -o FOLDER [--labelled 10] [--seeds 3] [--steps 400] [--cycles 2]
        [--arms alone soft hard sure oracle] [--tile 160] [--encoder regnetx_002] [--pretrained never] [--set key=value …]

Fold 0 of COLON_GLANDS is held out and scored, and teaches nothing. Of the rest a seed draws which images keep their labels.

    alone   the labelled images alone.
    soft    a cycle: the rest is labelled with probabilities.
    hard    a cycle: the rest is labelled with 0 and 1, by the threshold.
    sure    a cycle: the same where the network is sure, from .9 and up to .1; the rest is unlabelled.
    oracle  all of the rest keeps its labels.

Every network takes the same steps. A cycle's score is that of its last cycle, not of its best: the best of several scores on the
held-out images would flatter it. Its first cycle is "alone" of the same seed, and is shown beside. Made once: a second call reads
what is there, and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

from malpighi.sampling.folds import make_folds
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.ftu_cycle.cycle import cycle
from malpighi.tasks.ftu_cycle.networks import score_of
from malpighi.tasks.talk import Talk
from malpighi.tasks.train import train

ARMS = ("alone", "soft", "hard", "sure", "oracle")
LABELS = {"soft": ["cycle.soft=true"], "hard": ["cycle.soft=false"], "sure": ["cycle.soft=false", "cycle.sure=0.9"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--labelled", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--tile", type=int, default=160)
    parser.add_argument("--spacing", type=float, default=2.0, help="level-0 pixels a working pixel")
    parser.add_argument("--encoder", default="regnetx_002")
    parser.add_argument("--pretrained", default="never")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--unlabelled", type=int, default=0, help="so many of the rest; 0: all")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    arguments = parser.parse_args()
    rows: list[dict] = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for arm in arguments.arms:
            began = time.monotonic()
            rows.append({"seed": seed, "arm": arm, **score(arguments, seed, arm)})
            print(f"seed {seed}, {arm}: Dice {rows[-1]['dice']:.4f} ({time.monotonic() - began:.0f} s this time)", flush=True)
            if seed == arguments.first_seed:
                expect(arguments, rows, arm)
    table(rows, arguments)


def settings(arguments: argparse.Namespace, seed: int) -> list[str]:
    """The recipe of every network, against `auto`."""
    return [
        "task=ftu",
        "data.unit=px",
        f"data.spacing={arguments.spacing}",
        f"data.tile={arguments.tile}",
        f"predict.tile={arguments.tile}",
        f"model.encoder={arguments.encoder}",
        f"model.pretrained={arguments.pretrained}",
        f"train.steps={arguments.steps}",
        f"train.batch={arguments.batch}",
        f"train.validate_every={max(1, arguments.steps // 4)}",
        f"train.seed={seed}",
        f"train.precision={arguments.precision}",  # measured, they could differ from arm to arm
        "train.channels_last=true",
        f"cycle.cycles={arguments.cycles}",
        "cycle.gain=-1.0",
        *arguments.overrides,
    ]


def score(arguments: argparse.Namespace, seed: int, arm: str) -> dict:
    """Held-out Dice of one arm."""
    sets = settings(arguments, seed)
    folder = arguments.output / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_manifest(arguments, seed, folder / f"{'all' if arm == 'oracle' else 'few'}.csv", arm == "oracle")
    run = folder / arm
    if arm in ("alone", "oracle"):
        told = train(manifest, "auto", run, overrides=sets, talk=Talk())
        return {"dice": score_of(run), "first": None, "seconds": told["seconds"]}
    told = cycle(manifest, "auto", run, overrides=[*sets, *LABELS[arm]], talk=Talk())
    return {
        "dice": told["cycles"][-1]["score"],
        "first": told["baseline"],
        "seconds": told["seconds"],
        "agreement": (told["cycles"][-1]["agreement"] or {}).get("dice"),
    }


def write_manifest(arguments: argparse.Namespace, seed: int, path: Path, everything: bool) -> Path:
    """A table of the data set in which `--labelled` images of the training part, drawn by the seed, keep their labels."""
    table_ = find_cases(arguments.data).require_labels()
    held = {table_.cases[i].id for i in make_folds(table_.cases, n=5)[0].validation}  # as `train` would hold them out
    rest = sorted(case.id for case in table_.cases if case.id not in held)
    drawn = np.random.default_rng(seed).permutation(rest).tolist()
    kept = set(drawn if everything else drawn[: arguments.labelled])
    others = drawn[arguments.labelled :][: arguments.unlabelled or None]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "image", "labels", "class", "group", "split"))
        for case in table_.cases:
            if case.id in held or case.id in kept:
                split = "validation" if case.id in held else "train"
                writer.writerow((case.id, case.image.resolve(), case.labels[0].path.resolve(), "gland", case.group, split))
            elif case.id in others:
                writer.writerow((case.id, case.image.resolve(), "", "", case.group, ""))
    return path


def expect(arguments: argparse.Namespace, rows: list[dict], arm: str) -> None:
    """Say how long an arm takes over all seeds, of what the first seed took."""
    seconds = next(row["seconds"] for row in rows if row["arm"] == arm)
    print(
        f"  {arm}: {seconds / 60:.1f} min a seed, {arguments.seeds * seconds / 60:.0f} min for {arguments.seeds} seeds",
        flush=True,
    )


def table(rows: list[dict], arguments: argparse.Namespace) -> None:
    """Mean ± standard deviation over seeds, and the gain over "alone" seed by seed."""
    baseline = {row["seed"]: row["dice"] for row in rows if row["arm"] == "alone"}
    baseline |= {row["seed"]: row["first"] for row in rows if row["first"] is not None and row["seed"] not in baseline}
    print(f"\n{arguments.labelled} labelled images, {arguments.steps} steps, {arguments.seeds} seeds\n")
    print("| arm | held-out Dice | gain | minutes a seed |\n| --- | --- | --- | --- |")
    for arm in arguments.arms:
        mine = [row for row in rows if row["arm"] == arm]
        gains = [row["dice"] - baseline[row["seed"]] for row in mine if row["seed"] in baseline]
        minutes = float(np.mean([row["seconds"] for row in mine])) / 60
        gain = spread(gains, "+") if gains and arm != "alone" else "–"
        print(f"| {arm} | {spread([row['dice'] for row in mine])} | {gain} | {minutes:.1f} |")
    (arguments.output / "scores.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def spread(values: list[float], sign: str = "") -> str:
    """Mean ± sample standard deviation."""
    return f"{np.mean(values):{sign}.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else f"{values[0]:{sign}.4f}"


if __name__ == "__main__":
    main()
