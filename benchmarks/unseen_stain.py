"""A stain that training never saw: train on the H&E tiles of a data set, score on its PAS tiles, with and without stain tools.

    python benchmarks/unseen_stain.py DATA/kidney_structures -o FOLDER [--classes tuft capsule] [--steps 150] [--seeds 0 1 2]
    python benchmarks/unseen_stain.py DATA/kidney_structures -o FOLDER --arms plain macenko --steps 10 --seeds 0

All arms: the recipe `demo` in pixels, tiles of 128, the same steps and batch, random weights. "plain" varies shape alone; each other
arm adds one thing. Arms that end in "-bank" take the PAS images as targets, never their masks: what one has of a new laboratory before
anybody annotates there. Arms that end in "-own" know the H&E images alone. The network is judged once, at its last step: nothing is chosen
by the images that it is scored on. The score is the mean Dice of the tiles' classes. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from malpighi.sampling.cases import CaseTable
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.talk import Talk
from malpighi.tasks.train import train

TRAINED, SCORED = "H&E", "PAS"
COLOURS = ("augment.hue=0.0", "augment.saturation=0.0")
PLAIN = ("augment.tone=0.0", *COLOURS, "augment.stain=0.0")
TONE = (*COLOURS, "augment.stain=0.0")
ARMS: dict[str, tuple[str, ...]] = {
    "plain": PLAIN,
    "tone": TONE,
    "tone, hue": ("augment.stain=0.0",),
    "hed": (*PLAIN[:3], "augment.stain=0.05"),
    "hed, strong": (*PLAIN[:3], "augment.stain=0.2"),
    **{
        f"{by}-{to}": (*PLAIN, "augment.transfer=0.5", f"augment.transfer_by={by}")
        for by in ("reinhard", "macenko", "vahadane")
        for to in ("bank", "own")
    },
    **{f"match-{to}": (*PLAIN, "augment.match=0.5") for to in ("bank", "own")},
    "macenko-bank, tone, hue": ("augment.stain=0.0", "augment.transfer=0.5", "augment.transfer_by=macenko"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--classes", nargs="+", default=["tuft"])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help=f"of {', '.join(ARMS)}")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    unknown = [arm for arm in args.arms if arm not in ARMS]
    if unknown:
        parser.error(f"no arm {', '.join(unknown)}; there are {', '.join(ARMS)}")
    table = find_cases(args.data, where={"class": args.classes, "stain": [TRAINED, SCORED]}).require_labels()
    manifest, bank = write_manifest(table, args.output)
    print(
        f"{', '.join(args.classes)}: {table.counts('stain')} tiles; trained on {TRAINED}, scored on {SCORED}; {args.steps} steps, "
        f"seeds {args.seeds}",
        flush=True,
    )
    found: dict[str, list[float]] = {}
    for seed in args.seeds:
        for arm in args.arms:
            began = time.monotonic()
            dice = run(arm, manifest, bank, args.output, args.steps, seed)
            found.setdefault(arm, []).append(dice)
            print(f"  seed {seed} {arm}: {dice:.4f} ({time.monotonic() - began:.0f} s)", flush=True)
    report(found, args.output)


def write_manifest(table: CaseTable, folder: Path) -> tuple[Path, Path]:
    """A manifest that trains on one stain and holds the other out, and a folder of the other's images alone."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = folder / "bank"
    bank.mkdir(exist_ok=True)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "labels", "class", "group", "stain", "split"])
        for case in table.cases:
            stain = case.value("stain")
            split = "train" if stain == TRAINED else "validation"
            (labels,) = case.labels
            # a donor may have tiles of both stains; here it is the stain that must not be known
            group = f"{case.value('group')}-{split}"
            writer.writerow([case.id, case.image, labels.path, labels.classes[0], group, stain, split])
            if stain == SCORED:
                link = bank / (case.id.replace("/", "_") + case.image.suffix)
                if not link.exists():
                    link.symlink_to(case.image.resolve())
    return manifest, bank


def run(arm: str, manifest: Path, bank: Path, folder: Path, steps: int, seed: int) -> float:
    """Train one arm, or read what it gave: mean Dice over the held-out tiles."""
    where = folder / "runs" / f"{arm.replace(', ', '+')}-{steps}-seed{seed}"
    overrides = [
        "data.unit=px",
        "data.spacing=1.0",
        "data.tile=128",
        "predict.tile=256",
        "objects.min_area=0.0",
        f"train.steps={steps}",
        f"train.validate_every={steps}",
        f"train.seed={seed}",
        *ARMS[arm],
    ]
    if "-bank" in arm:
        overrides.append(f"augment.transfer_to={bank}")
    train(manifest, "demo", where, overrides=overrides, talk=Talk())
    scores = json.loads((where / "scores.json").read_text(encoding="utf-8"))
    return float(
        scores["mean_dice"] if "mean_dice" in scores else json.loads((where / "summary.json").read_text())["best_dice"]
    )


def report(found: dict[str, Sequence[float]], folder: Path) -> None:
    """The table, on the terminal and as JSON."""
    (folder / "unseen_stain.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    base = found.get("plain", ())
    print(f"{'arm':28s} {'Dice':>7s} {'sd':>7s} {'against plain':>14s}")
    for arm, scores in sorted(found.items(), key=lambda item: -statistics.mean(item[1])):
        spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
        gain = [a - b for a, b in zip(scores, base, strict=False)]
        print(
            f"{arm:28s} {statistics.mean(scores):7.4f} {spread:7.4f} {statistics.mean(gain) if gain else float('nan'):+14.4f}"
        )


if __name__ == "__main__":
    main()
