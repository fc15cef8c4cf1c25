"""Every published FTU system on real data at a small, equal budget, and what single parts of them gain: seeds' mean and spread.

    python benchmarks/systems.py parts colon=DATA/colon_glands tuft=DATA/kidney_structures -o FOLDER [--steps 150] [--seeds 0 1 2]
    python benchmarks/systems.py recipes colon=DATA/colon_glands tuft=DATA/kidney_structures -o FOLDER [--steps 150] [--seeds 0 1]

Each run: the recipe as it is, but a small encoder with random weights, tiles of 128 pixels, the same steps and batch, a rate of
2e-3 (the recipes' are for published weights and a hundred times the steps), and pixels instead of micrometres, which these images do
not say. "parts" starts from a plain recipe and changes one thing at a time; arms that change the prediction alone take the plain run's network.
The score is the mean Dice over whole held-out images: fold 0 of 5 of `colon`, 5 of the 10 tiles of `tuft`. Finished runs are not repeated;
`--only NAME …` chooses arms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from malpighi.errors import MalpighiError
from malpighi.recipes.load import list_recipes, read_raw

ENCODER = "regnetx_002"
TILE = 128
DATA: dict[str, dict[str, Any]] = {
    "colon": {"set": ["data.spacing=2.0", "data.folds=5"], "only": None},  # glands of 150 pixels: 75
    "tuft": {"set": ["data.spacing=1.0", "data.folds=2"], "only": {"class": ["tuft"]}},
}
PLAIN = [
    "augment.shift=0.0",
    "augment.scale=0.0",
    "augment.shear=0.0",
    "augment.elastic=0.0",
    "augment.tone=0.0",
    "augment.hue=0.0",
    "augment.saturation=0.0",
    "augment.stain=0.0",
    "augment.blur=0.0",
    "augment.noise=0.0",
    "optim.average=0.0",
]
TEN = [
    "augment.shift=0.0625",
    "augment.scale=0.2",
    "augment.tone=0.2",
    "augment.hue=0.08",
    "augment.saturation=0.32",
    "augment.blur=1.0",
    "augment.noise=0.03",
    "augment.distort=0.3",
]
PARTS: dict[str, list[str]] = {
    "plain (flips, rotation)": [],
    "ten transforms": TEN,
    "Laplacian blending": ["augment.blend=0.5"],
    "multi-scale tiles": ["data.reductions=[1.0, 1.5, 3.0]"],
    "EMA .98": ["optim.average=0.98"],
    "BCE + Lovász": ["loss.name=bce+lovasz"],
    "class of the tile, gate at .5": ["model.tile_class=true", "predict.gate=0.5"],
    "wholes, quarters, ninths": ["data.across=[1, 2, 3]", "predict.across=2"],
    "detector fills what is broken": ["boxes.kind=fcos", f"boxes.encoder={ENCODER}", "boxes.steps=600"],
}
"""What is changed in training; the first is what they are compared with."""
PREDICTION: dict[str, list[str]] = {
    "no overlap": ["predict.overlap=0.0", "predict.window=center"],
    "expansion: 256 read, 128 kept": ["predict.tile=256", "predict.overlap=0.5", "predict.window=center"],
    "four flips": ["predict.flips=flips"],
    "holes below 4000 px² filled": ["objects.fill_holes=4000.0"],
    "no object below 2000 px²": ["objects.min_area=2000.0"],
    "Otsu for objects below 8000 px²": ["objects.otsu=8000.0"],
    "no object of energy below .9": ["objects.energy=0.9"],
}
"""What is changed in prediction and after it, with the first network of `PARTS`; areas in pixels of level 0, a gland has 17,000."""
FITTED = "fitted threshold (nested)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("parts", "recipes"))
    parser.add_argument("data", nargs="+", help=f"NAME=FOLDER; names are {', '.join(DATA)}")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", help="arms or recipes")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    folders = {name: Path(folder) for name, _, folder in (text.partition("=") for text in arguments.data)}
    run = _parts if arguments.what == "parts" else _recipes
    found: dict[str, dict[str, list[float]]] = {}
    for name, folder in folders.items():
        for seed in arguments.seeds:
            for arm, dice in run(name, folder, seed, arguments):
                found.setdefault(arm, {}).setdefault(name, []).append(dice)
                print(f"{arm:<34}{name:<8}seed {seed}  {dice:.4f}", flush=True)
    _table(found, list(folders))


def _parts(name: str, folder: Path, seed: int, arguments: argparse.Namespace) -> Any:
    first = next(iter(PARTS))
    wanted = set(arguments.only or [*PARTS, *PREDICTION, FITTED])
    for arm, settings in PARTS.items():
        needed = arm == first and wanted & {*PREDICTION, FITTED}
        if arm not in wanted and not needed:
            continue
        out = arguments.output / name / _slug(arm) / f"seed{seed}"
        dice = _train("demo", folder, out, [*_common(name, seed, arguments.steps), *PLAIN, *settings], name)
        if arm in wanted:
            yield arm, dice
    base = arguments.output / name / _slug(first) / f"seed{seed}"
    for arm, settings in PREDICTION.items():
        if arm in wanted:
            yield arm, _predict(base, folder, settings, name, base / "again" / _slug(arm))
    if FITTED in wanted:
        yield FITTED, _scores(base) + _fitted(base, base / "fitted")


def _recipes(name: str, folder: Path, seed: int, arguments: argparse.Namespace) -> Any:
    systems = [recipe for recipe in list_recipes() if recipe.startswith(("kidney-", "body-"))]
    unets = [recipe for recipe in systems if recipe.startswith("body-unet-")]  # but for the encoder they are one
    every = [recipe for recipe in systems if recipe not in unets[1:]]
    for recipe in arguments.only or every:
        out = arguments.output / name / recipe / f"seed{seed}"
        try:
            yield (
                recipe,
                _train(recipe, folder, out, [*_common(name, seed, arguments.steps), *_small(recipe, arguments.steps)], name),
            )
        except MalpighiError as error:
            print(f"{recipe:<34}{name:<8}seed {seed}  refused: {error}", flush=True)


def _common(name: str, seed: int, steps: int) -> list[str]:
    """What every run of the comparison has in common."""
    return [
        *DATA[name]["set"],
        "data.unit=px",
        f"data.tile={TILE}",
        f"model.encoder={ENCODER}",
        "model.pretrained=never",
        "optim.rate=2e-3",
        f"train.steps={steps}",
        "train.batch=8",
        f"train.validate_every={steps}",  # once, at the end: nothing is chosen by what is scored
        "train.precision=float32",
        "train.channels_last=true",
        "train.loaders=1",
        f"train.seed={seed}",
        f"predict.tile={TILE}",
        "predict.batch=4",
        "objects.min_area=0.0",
    ]


def _small(recipe: str, steps: int) -> list[str]:
    """What is left of a recipe's own sizes at tiles of 128 pixels."""
    raw = read_raw(recipe)
    ratio = raw["predict"]["tile"] / raw["data"]["tile"]
    settings = [f"predict.tile={max(32, round(ratio * TILE / 32) * 32)}"]
    if raw["objects"].get("otsu") if "objects" in raw else False:
        settings.append("objects.otsu=500.0")
    if raw["train"].get("keep", "best") != "best":  # a mean of several
        settings.append(f"train.validate_every={max(1, steps // 5)}")
    if raw["model"]["architecture"] == "upernet":  # 512 channels are a minute a step on one core
        settings.append("model.decoder_channels=[64]")
    if "organ" in raw["model"].get("tells", []):  # a head for one organ learns nothing
        settings.append('model.tells=["pixel_size"]')
    if "boxes" in raw:
        settings += [f"boxes.encoder={ENCODER}", f"boxes.steps={steps}"]
    return settings


def _train(recipe: str, folder: Path, out: Path, settings: Sequence[str], name: str) -> float:
    """Mean Dice over held-out images, as the run's scores.json has it."""
    from malpighi.tasks.train import train

    began = time.monotonic()
    train(folder, recipe, out, overrides=settings, only=DATA[name]["only"])
    if (took := time.monotonic() - began) > 5:
        print(f"  {out}: {took:.0f} s", flush=True)
    return _scores(out)


def _scores(run: Path) -> float:
    return float(json.loads((run / "scores.json").read_text())["dice"])


def _predict(run: Path, folder: Path, settings: Sequence[str], name: str, out: Path) -> float:
    """The same of a run's network, predicted otherwise."""
    from malpighi.metrics.report import summarise
    from malpighi.sampling.cases import open_case
    from malpighi.sampling.layouts import find_cases
    from malpighi.tasks.evaluate import score_pairs
    from malpighi.tasks.material import fold_of
    from malpighi.tasks.pairs import Pair
    from malpighi.tasks.segment import open_model, segment_image

    model = open_model(run, settings)
    table = find_cases(folder, where=DATA[name]["only"]).require_labels()
    classes = model.run.inputs.classes
    pairs = []
    for i in fold_of(table.cases, model.run.recipe).validation:
        case = table.cases[i]
        pairs.append(Pair(case, out / case.id))
        with ExitStack() as stack:
            opened = stack.enter_context(open_case(case, classes))
            segment_image(model, opened.source, case.image, pairs[-1].prediction, overwrite=True, report=False)
    return float(summarise(score_pairs(pairs, classes)[0])["dice"])


def _fitted(run: Path, out: Path) -> float:
    """What a threshold gains over .5 on held-out images that it was not fitted on."""
    from malpighi.tasks.ensemble.make import ensemble

    (one,) = ensemble([run], out)["candidates"]
    return float(one["nested"] - one["half"])


def _slug(arm: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in arm.lower()).strip("-")


def _table(found: dict[str, dict[str, list[float]]], names: Sequence[str]) -> None:
    """Mean ± standard deviation over seeds; differences to the first arm, seed by seed, where there are as many."""
    first = next(iter(found.values()))
    print(f"\n{'Dice, mean ± sd over seeds':<34}" + "".join(f"{name:>18}{'gain':>18}" for name in names))
    for arm, by_data in found.items():
        line = f"{arm:<34}"
        for name in names:
            values, base = by_data.get(name, []), first.get(name, [])
            gains = [v - b for v, b in zip(values, base, strict=False)] if len(values) == len(base) else []
            line += f"{_spread(values):>18}{_spread(gains, '+') if gains and by_data is not first else '':>18}"
        print(line)


def _spread(values: Sequence[float], sign: str = "") -> str:
    if not values:
        return "–"
    return f"{statistics.mean(values):{sign}.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
