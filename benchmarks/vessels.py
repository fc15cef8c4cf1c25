"""Leave one acquisition out: slices, stacks of slices and 3-D patches at equal CPU time, beside a plain loop with MONAI.

    python benchmarks/vessels.py VOLUMES -o FOLDER [--minutes 1.5] [--folds 5] [--only 2d 25d 3d monai-3d]

VOLUMES holds images/ and masks/ of 3-D TIFF stacks; files that begin with the same two words of their name up to the second
"_" (poon2015_BBB_…) are one acquisition. Each system trains for the same wall-clock time on the other acquisitions, one process
at a time, and is scored by the same `malpighi evaluate`. The plain loop trains the very network of "3d" (same options, same
initialisation) with MONAI's transforms, Dice + cross-entropy and `sliding_window_inference`, as its tutorials do.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

CODE = "from malpighi.cli.main import run; run()"
SLICES = ["train.batch=12"]
SYSTEMS = {
    "2d": ["model.slices_in=1", "model.slices_out=1", *SLICES],
    "25d": ["model.slices_in=3", "model.slices_out=3", *SLICES],
    "3d": [
        "model.architecture=res-unet3d",
        "model.slices_in=0",
        "model.widths=[16, 32, 64, 128]",
        "data.tile=[16, 96, 96]",
        "train.batch=4",
        "predict.tile=[16, 256, 256]",
        "predict.overlap=0.5",
    ],
}
COLUMNS = ("dice", "surface_dice", "nsd", "cldice", "betti0_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1.5, help="of training a system and fold")
    parser.add_argument("--folds", type=int, default=0, help="how many of them; 0: all")
    parser.add_argument("--only", nargs="*", default=[*SYSTEMS, "monai-3d"])
    parser.add_argument("--monai-fold", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    table, groups = write_manifest(arguments.volumes, arguments.output)
    if arguments.monai_fold is not None:
        train_monai(
            table, groups[arguments.monai_fold], arguments.output / f"monai-3d-{arguments.monai_fold}", arguments.minutes
        )
        return
    folds = groups[: arguments.folds or len(groups)]
    results: dict[str, list[dict]] = {name: [] for name in arguments.only}
    for number, group in enumerate(folds):
        for name in arguments.only:
            out = arguments.output / f"{name}-{number}"
            if name.startswith("monai"):
                call = [sys.executable, __file__, str(arguments.volumes), "-o", str(arguments.output)]
                if not (out / "steps.txt").exists():  # finished runs are not repeated, as `train` does it
                    run([*call, "--minutes", str(arguments.minutes), "--monai-fold", str(number)])
                found = evaluate(out / "masks", table, group)
            else:
                train(table, group, name, out, arguments.minutes)
                found = evaluate(out / "validation", table, group)
            results[name].append(found)
            print(f"{group:<28}{name:<10}" + "".join(f"{_number(found, c):>14}" for c in COLUMNS), flush=True)
    print(f"\n{'mean over acquisitions':<28}{'system':<10}" + "".join(f"{c:>14}" for c in COLUMNS))
    for name, found in results.items():
        means = {
            c: sum(f[c] for f in found if f.get(c) is not None) / max(1, sum(f.get(c) is not None for f in found))
            for c in COLUMNS
        }
        print(f"{'':<28}{name:<10}" + "".join(f"{_number(means, c):>14}" for c in COLUMNS))


def _number(row: dict, column: str) -> str:
    return "–" if row.get(column) is None else f"{row[column]:.3f}"


def write_manifest(volumes: Path, out: Path) -> tuple[Path, list[str]]:
    """A manifest with the acquisition of each volume; its path and the acquisitions."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "manifest.csv"
    groups = []
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "labels", "class", "group"])
        for image in sorted((volumes / "images").glob("*.tif")):
            group = "_".join(image.stem.split("_")[:2])
            groups.append(group)
            mask = volumes / "masks" / image.name
            rows.writerow([image.stem, image.resolve(), mask.resolve(), "vessel", group])
    return path, list(dict.fromkeys(groups))


def split(table: Path, group: str, out: Path) -> Path:
    """The manifest with one acquisition held out."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = out.with_suffix(".csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "split"])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "split": "validation" if row["group"] == group else "train"})
    return path


def train(table: Path, group: str, name: str, out: Path, minutes: float) -> None:
    """One system on the other acquisitions."""
    options = [f"train.minutes={minutes}", "model.pretrained=never", "train.validate_every=100000", *SYSTEMS[name]]
    sets = [part for option in options for part in ("--set", option)]
    run([sys.executable, "-c", CODE, "train", str(split(table, group, out)), "-o", str(out), *sets])


def evaluate(prediction: Path, table: Path, group: str) -> dict:
    """Scores of the held-out acquisition."""
    command = ["evaluate", str(prediction), str(table), "--only", f"group={group}", "--json"]
    return json.loads(run([sys.executable, "-c", CODE, *command]).splitlines()[-1])


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def train_monai(table: Path, group: str, out: Path, minutes: float) -> None:
    """The same network in a plain MONAI loop: patches, flips and turns, Dice + cross-entropy, Gaussian sliding window."""
    import numpy as np
    import tifffile
    import torch
    from monai.data import DataLoader, Dataset
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        RandCropByPosNegLabeld,
        RandFlipd,
        RandRotate90d,
        RandScaleIntensityd,
        RandShiftIntensityd,
        ScaleIntensityRangePercentilesd,
        SpatialPadd,
    )

    from malpighi.models.build import ModelOptions, build_network

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    torch.manual_seed(0)
    network = build_network(ModelOptions(architecture="res-unet3d", pretrained="never", widths=(16, 32, 64, 128)), 1, 1)
    scale = ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0, 1, clip=True)
    first = [EnsureChannelFirstd(("image", "label"), channel_dim="no_channel"), scale]
    random = [
        SpatialPadd(("image", "label"), (16, 96, 96), mode="reflect"),
        RandCropByPosNegLabeld(("image", "label"), "label", (16, 96, 96), num_samples=4),
        *(RandFlipd(("image", "label"), 0.5, axis) for axis in range(3)),
        RandRotate90d(("image", "label"), 0.5, spatial_axes=(1, 2)),
        RandScaleIntensityd("image", 0.2, 0.5),
        RandShiftIntensityd("image", 0.1, 0.5),
    ]
    volumes = [
        {
            "image": tifffile.imread(row["image"]).astype(np.float32),
            "label": (tifffile.imread(row["labels"]) > 0).astype(np.float32),
        }
        for row in rows
        if row["group"] != group
    ]
    loader = DataLoader(Dataset(volumes, Compose([*first, *random])), batch_size=1, shuffle=True, num_workers=0)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    loss = DiceCELoss(sigmoid=True)
    began, steps = time.monotonic(), 0
    network.train()
    while time.monotonic() - began < minutes * 60:
        for batch in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(batch["image"].as_tensor()).logits
            value = loss(logits.float(), batch["label"].as_tensor())
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            steps += 1
    (out / "masks").mkdir(parents=True, exist_ok=True)
    network.eval()
    for row in rows:
        if row["group"] != group:
            continue
        image = Compose(first[:1])({"image": tifffile.imread(row["image"]).astype(np.float32), "label": np.zeros((1, 1, 1))})
        image = scale(image)["image"].as_tensor()
        with torch.inference_mode():
            logits = sliding_window_inference(image[None], (16, 256, 256), 1, lambda x: network(x).logits, 0.5, mode="gaussian")
        tifffile.imwrite(out / "masks" / f"{row['id']}.tif", (logits[0, 0] > 0).numpy().astype(np.uint8))
    (out / "steps.txt").write_text(str(steps))


if __name__ == "__main__":
    main()
