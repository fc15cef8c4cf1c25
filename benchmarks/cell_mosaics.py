"""Labels of images in, labels of cells out: what each stage of the cycle knows of single cells that it never saw labelled.

    python benchmarks/cell_mosaics.py MOSAICS -o FOLDER [--seeds 3] [--folds 3] [--set key=value …]

MOSAICS holds comb1.csv, comb1/, … : mosaics of nine real cells with the labels of the whole mosaic. Each fold trains the cycle on
the labels of the other mosaics. Held-out cells are scored three ways:

    pure    mosaics of one class: every cell's class is known. Mean over classes of the average precision over cells.
    mixed   the same cells, dealt anew into mosaics of two classes: the label of a mosaic no longer tells its cells.
    rate    mosaics that came mixed: mean distance of the predicted share of each class from the share in the table.

"image" is the plain image classifier, its scores given to every cell of the image; "maps" what its class maps show in the cell;
"cell k" the cell classifier of cycle k; "fused k" what `segment` writes by it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from malpighi.images.open import open_image
from malpighi.metrics.multilabel import average_precisions
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.cells.cycle import cycle
from malpighi.tasks.cells.predict import segment_cells
from malpighi.tasks.cells.table import read_cell_scores

CHANNELS = ("red", "green", "blue", "yellow")
TILE = 512
SETTINGS = [
    "data.side=384",
    "data.crop=64",
    "cells.scale=0.33",
    "cells.nucleus_area=2500",
    "cells.cell_area=4000",
    "image.train.steps=120",
    "image.train.batch=8",
    "image.train.validate_every=60",
    "image.model.stride=32",
    "cell.train.steps=200",
    "cell.train.validate_every=100",
    "cycle.most=2",
    "cycle.gain=-1.0",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mosaics", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    arguments = parser.parse_args()
    results = []
    for seed in range(arguments.seeds):
        found = [fold_scores(arguments, seed, fold) for fold in range(arguments.folds)]
        results.append(summary(found))
        print(f"seed {seed}: {json.dumps(results[-1])}", flush=True)
    table(results)


def fold_scores(arguments: argparse.Namespace, seed: int, fold: int) -> dict:
    """Scores of the held-out cells of one fold, made once: a second call reads them."""
    out = arguments.output / f"seed{seed}-fold{fold}"
    path = out / "scores.npz"
    if path.is_file():
        return dict(np.load(path))
    sets = [*SETTINGS, *arguments.overrides, f"data.folds={arguments.folds}", f"data.fold={fold}"]
    sets += [f"{stage}.train.seed={seed}" for stage in ("image", "cell")]
    told = cycle(arguments.mosaics, "demo-cells", out / "run", overrides=sets)
    classes = told["classes"]
    cases = {case.id: case for case in find_cases(arguments.mosaics).cases}
    held = [cases[name] for name in json.loads((out / "run" / "fold.json").read_text())["held_out"]]
    pure = [case for case in held if len(case.image_labels) == 1]
    rated = [case for case in held if len(case.image_labels) > 1]
    mosaics, truth = deal(pure, out / "mixed", seed)
    found: dict = {}
    for name, images in (("pure", [c.image for c in pure]), ("mixed", mosaics), ("rate", [c.image for c in rated])):
        for number in range(1, told["cycles"] + 1) if images else ():
            folder = out / name / f"cycle-{number}"
            segment_cells(images, out / "run", folder, cycle=number, overwrite=True)
            cells = cells_of(images, folder, classes)
            for stage in ("cell", "fused"):
                cells[f"scores {stage} {number}"] = cells.pop(f"scores {stage}")
            found |= {f"{name}/{key}": value for key, value in cells.items()}
    labels = [classes.index(case.image_labels[0]) for case in pure]
    found["pure/truth"] = np.array(labels, np.int64)[found["pure/image"]] if pure else np.zeros(0, np.int64)
    if mosaics:
        places = found["mixed/place"]
        found["mixed/truth"] = np.array([classes.index(truth[i][p]) for i, p in zip(found["mixed/image"], places, strict=True)])
    if rated:
        found["rate/shares"] = np.stack([shares(case, classes) for case in rated])
    found["classes"] = np.array(classes)
    np.savez(path, **found)
    return found


def shares(case, classes: list[str]) -> np.ndarray:
    """(class,) share of the mosaic's cells that the table gives, "0.25_0.75" in the order of its labels."""
    out = np.zeros(len(classes))
    for name, part in zip(case.image_labels, case.attributes["m_rate"].split("_"), strict=True):
        out[classes.index(name)] = float(part)
    return out


def deal(pure: list, folder: Path, seed: int) -> tuple[list[Path], list[list[str]]]:
    """Tiles of one cell each, of mosaics of one class, dealt into mosaics of several; with the class of each place."""
    import cv2

    rng = np.random.default_rng(seed)
    tiles = [(case.image_labels[0], tile) for case in pure for tile in tiles_of(case.image)]
    if len({name for name, _ in tiles}) < 2:
        return [], []
    order = rng.permutation(len(tiles))
    folder.mkdir(parents=True, exist_ok=True)
    paths, truth = [], []
    for number in range(len(tiles) // 9):
        chosen = [tiles[i] for i in order[9 * number : 9 * number + 9]]
        rows = [np.concatenate([tile for _, tile in chosen[3 * r : 3 * r + 3]], axis=2) for r in range(3)]
        mosaic = np.concatenate(rows, axis=1)
        for channel, name in zip(mosaic, CHANNELS, strict=True):
            cv2.imwrite(str(folder / f"m{number}_{name}.png"), channel)
        paths.append(folder / f"m{number}_{{{','.join(CHANNELS)}}}.png")
        truth.append([name for name, _ in chosen])
    return paths, truth


def tiles_of(path: Path) -> Iterator[np.ndarray]:
    """The nine (channel, y, x) tiles of a mosaic."""
    from malpighi.geometry import Box

    with open_image(path) as source:
        image = source.read(Box.of_shape(source.shape))
    for y in range(0, 3 * TILE, TILE):
        for x in range(0, 3 * TILE, TILE):
            yield image[:, y : y + TILE, x : x + TILE]


def cells_of(images: list[Path], prediction: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """Scores of every cell by stage, its image's number and its place 0 … 8 in the mosaic."""
    found = [read_cell_scores(prediction / path.name.split("_{")[0], classes) for path in images]
    out = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
    out["image"] = np.repeat(np.arange(len(found)), [len(one["y"]) for one in found])
    out["place"] = (3 * (out.pop("y") // TILE) + out.pop("x") // TILE).astype(np.int64)
    return out


def summary(folds: list[dict]) -> dict[str, dict[str, float]]:
    """Stage → scores of one seed, the held-out cells of all folds together."""
    stages = [key.removeprefix("pure/scores ") for key in folds[0] if key.startswith("pure/scores ")]
    classes = [str(name) for name in folds[0]["classes"]]
    out: dict[str, dict[str, float]] = {}
    for stage in stages:
        row = {}
        for kind in ("pure", "mixed"):
            have = [fold for fold in folds if f"{kind}/truth" in fold]
            scores = np.concatenate([fold[f"{kind}/scores {stage}"] for fold in have])
            truth = np.concatenate([fold[f"{kind}/truth"] for fold in have])
            found = average_precisions(scores, np.eye(len(classes), dtype=np.float32)[truth])
            row[kind] = round(float(np.nanmean(found)), 4)
            row[f"{kind} right"] = round(float((_argmax(scores, truth) == truth).mean()), 4)
        row["rate"] = round(float(np.mean([d for fold in folds for d in _distances(fold, stage)])), 4)
        out[stage] = row
    out["cells"] = {"pure": sum(len(fold["pure/truth"]) for fold in folds)}
    return out


def _argmax(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The likeliest of the classes that occur."""
    known = np.unique(truth)
    return known[scores[:, known].argmax(1)]


def _distances(fold: dict, stage: str) -> list[float]:
    """Of each mosaic that came mixed: half the summed distance of shares."""
    if "rate/shares" not in fold:
        return []
    scores, image = fold[f"rate/scores {stage}"], fold["rate/image"]
    out = []
    for number, wanted in enumerate(fold["rate/shares"]):
        chosen = scores[image == number][:, wanted > 0].argmax(1)
        have = np.bincount(chosen, minlength=int((wanted > 0).sum())) / max(1, len(chosen))
        out.append(float(np.abs(have - wanted[wanted > 0]).sum() / 2))
    return out


def table(results: list[dict]) -> None:
    stages = [name for name in results[0] if name != "cells"]
    columns = list(results[0][stages[0]])
    print(f"\n{'mean ± sd over seeds':<24}" + "".join(f"{c:>18}" for c in columns))
    for stage in stages:
        values = np.array([[row[stage][c] for c in columns] for row in results])
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(values.mean(0), values.std(0), strict=True)]
        print(f"{stage:<24}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
