"""`auto`: from facts about data and machine to values, each with its reason. One visible table, one function a value."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from malpighi.errors import RecipeError
from malpighi.models.architectures import DECODERS
from malpighi.recipes.facts import Choice, DataFacts, MachineFacts, Raw, Rule, StepTimes, get, put
from malpighi.recipes.load import AUTO
from malpighi.recipes.volumes import VOLUME_RULES

OBJECT_PIXELS = 96  # a typical object should span about this many working pixels: enough for its shape, few tiles
SPECK = 50  # the smallest object that is kept has this part of a typical one's area
OBJECTS_A_TILE = 4  # and a tile about this many objects across: context around each


def plan(
    raw: Raw, data: DataFacts, machine: MachineFacts, measure: Callable[[Raw], StepTimes]
) -> tuple[dict[str, Any], list[Choice]]:
    """Fill every "auto" of a raw recipe.

    Args:
        raw: recipe as read, checked for unknown keys.
        data: facts about the training data.
        machine: facts about the machine.
        measure: times training steps with the recipe as far as it is filled; called only where a value hangs on it.

    Returns:
        The raw recipe with values, and the choices in the order they were made.

    Raises:
        RecipeError: a recipe for volumes and data of images, or the other way round; "auto" for a key that has no rule: the message
            lists those that have.
    """
    full = copy.deepcopy(dict(raw))
    _require_kind(full, data)  # first: rules for the other kind speak of what is only a consequence
    choices: list[Choice] = []
    rules = RULES if data.rank == 2 else {**RULES, **VOLUME_RULES}
    for key, rule in rules.items():
        if get(full, key) == AUTO:
            value, reason = rule(data, machine, full)
            put(full, key, value)
            choices.append(Choice(key, value, reason))
    choices += _measured(full, machine, measure)
    left = [
        f"{section}.{key}"
        for section, table in full.items()
        if isinstance(table, dict)
        for key, v in table.items()
        if v == AUTO
    ]
    if left:
        able = ", ".join([*RULES, *MEASURED])
        raise RecipeError(f'{", ".join(left)}: there is no rule for "auto" here; "auto" is understood by {able}')
    return full, choices


def _require_kind(full: Raw, data: DataFacts) -> None:
    """A recipe for slides is not one for volumes."""
    wanted = {2: ("ftu", "instances"), 3: ("vessels",)}[data.rank]
    if full.get("task", "ftu") not in (*wanted, AUTO):
        what = {2: "two-dimensional images", 3: "volumes"}
        raise RecipeError(
            f"recipe {full.get('name', '')}: is for {what[5 - data.rank]} (task = {full.get('task', 'ftu')!r}), the data are "
            f"{what[data.rank]}; `malpighi recipes` lists others, and `auto` takes both"
        )


def _unit(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    if data.unit == "µm":
        return "µm", "every image says its pixel size"
    return "px", "no image says its pixel size, so all sizes are in pixels; --spacing would make them micrometres"


def _spacing(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float, str]:
    if get(raw, "data.unit") != data.unit:
        raise RecipeError(
            f"data.unit = {get(raw, 'data.unit')!r}, but the images are in {data.unit}; give --spacing, or data.spacing"
        )
    if math.isnan(data.diameter):
        return data.spacing, "no objects to measure: full resolution"
    reduction = max(1, math.floor(data.diameter / OBJECT_PIXELS + 1e-9))
    largest = max(1, math.floor(data.side / 128))  # an image must still hold a tile
    reduction = min(reduction, largest)
    value = float(f"{data.spacing * reduction:.6g}")
    return value, (
        f"objects are {data.diameter:.0f} px across; reduced {reduction}× they span about "
        f"{data.diameter / reduction:.0f} px (aim: {OBJECT_PIXELS} or more)"
    )


def _tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    reduction = get(raw, "data.spacing") / data.spacing
    span = (data.diameter if not math.isnan(data.diameter) else 64 * reduction) / reduction
    wanted = 64 * max(2, round(OBJECTS_A_TILE * span / 64))
    limit = 512 if machine.gpu else 256
    fitting = 32 * max(2, math.ceil(data.side / reduction / 32))
    value = min(wanted, limit, fitting)
    why = f"about {OBJECTS_A_TILE} objects of {span:.0f} px across would take {wanted} px"
    return value, why + (f"; held to {value} by {'the device' if value == limit else 'the images'}" if value < wanted else "")


def _encoder(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    if machine.gpu:
        return "resnet34", f"a GPU ({machine.name}) affords it"
    return "resnet18", "on a CPU: the best trade of speed and accuracy measured here (docs/log.md)"


def _decoder(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    decoder = DECODERS.get(get(raw, "model.architecture"))
    if decoder is None:
        return [], "a network without an encoder has widths instead"
    if decoder.widths == 1:
        return [128], f"{decoder.what}, half the usual"
    if machine.gpu:
        return [256, 128, 64, 32, 16], "the usual widths of a U-Net"
    return [128, 64, 32, 32, 16], "a light decoder: on a CPU its full-resolution stages cost most"


def _batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    tile = get(raw, "data.tile")
    if not machine.gpu:
        value = max(4, min(16, round(8 * (256 / tile) ** 2)))
        return value, f"eight 256² tiles' worth of pixels a step suits a CPU; tiles are {tile}²"
    value = int(max(4, min(32, machine.memory_gb * 1.5 * (256 / tile) ** 2)))
    return value, f"fits {machine.memory_gb:.0f} GB with {tile}² tiles, and 32 are enough"


def _foreground(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float, str]:
    if data.foreground >= 0.25:
        return 0.0, f"{data.foreground:.0%} of the area is foreground: random boxes meet it often enough"
    return 0.5, f"only {data.foreground:.1%} of the area is foreground: every second box is drawn around an object"


def _predict_tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    tile = get(raw, "data.tile")
    value = max(tile, 512)
    return (
        value,
        f"tiles of {value} px cost less overlap than the training tiles of {tile} px" if value > tile else "as in training",
    )


def _predict_batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    return (8, "keeps a GPU busy") if machine.gpu else (1, "one tile at a time is fastest on a CPU and takes least memory")


def _intensity(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    if data.channels == 3 and data.dtype == "uint8":
        return "imagenet", "8-bit RGB: the mean and spread that published encoders were trained with"
    return "percentile", f"{data.channels} channels of {data.dtype}: scaled by measured percentiles"


def _loaders(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    if machine.gpu:
        return max(2, min(12, machine.cores - 2)), f"{machine.cores} cores feed the GPU"
    return 1, "one thread reads ahead; the other cores are the network's"


def _min_area(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float, str]:
    if math.isnan(data.diameter):
        return 0.0, "no objects to measure: nothing is dropped"
    area = math.pi / 4 * (data.diameter * data.spacing) ** 2
    value = float(f"{area / SPECK:.3g}")
    return value, f"a typical object has {area:.0f} {data.unit}²; less than 1/{SPECK} of it is a speck"


def _plain(value: Any) -> Rule:
    """What concerns volumes alone."""
    return lambda data, machine, raw: (value, "two-dimensional images")


RULES: dict[str, Rule] = {
    "task": _plain("ftu"),
    "data.unit": _unit,
    "data.spacing": _spacing,
    "data.axes": _plain(["z"]),
    "model.slices_in": _plain(0),
    "model.slices_out": _plain(1),
    "data.tile": _tile,
    "intensity.kind": _intensity,
    "intensity.per": _plain("dataset"),
    "sampling.foreground": _foreground,
    "model.encoder": _encoder,
    "model.decoder_channels": _decoder,
    "train.batch": _batch,
    "train.loaders": _loaders,
    "predict.tile": _predict_tile,
    "predict.batch": _predict_batch,
    "objects.min_area": _min_area,
}
"""Key → how "auto" is filled, in the order of filling: a rule may read what the ones above it have put in."""

MEASURED = ("train.precision", "train.channels_last", "train.steps", "train.validate_every")
"""Keys whose "auto" hangs on the measured time of a step."""


def _measured(full: dict[str, Any], machine: MachineFacts, measure: Callable[[Raw], StepTimes]) -> list[Choice]:
    wanted = [key for key in MEASURED if get(full, key) == AUTO]
    if not wanted:
        return []
    times = measure(full)
    precision, layout = times.best
    if "train.precision" not in wanted:
        precision = get(full, "train.precision") or "float32"
    if "train.channels_last" not in wanted and get(full, "train.channels_last") is not None:
        layout = get(full, "train.channels_last")
    seconds = times.seconds.get((precision, layout), min(times.seconds.values()))
    table = ", ".join(f"{p}{' channels-last' if c else ''} {s * 1e3:.0f} ms" for (p, c), s in times.seconds.items())
    minutes = get(full, "train.minutes") or DEFAULT_MINUTES
    steps = int(max(50, min(20_000, minutes * 60 * STEP_SHARE / seconds)))
    given = get(full, "train.steps")
    validate_every = max(25, math.ceil((steps if given in (AUTO, None) else given) / 10))
    values: dict[str, tuple[Any, str]] = {
        "train.precision": (precision, f"measured a step: {table}"),
        "train.channels_last": (layout, f"measured a step: {table}"),
        "train.steps": (steps, f"{minutes:g} minutes (train.minutes) at {seconds * 1e3:.0f} ms a step, validation left room"),
        "train.validate_every": (validate_every, "ten looks at the held-out images over the run"),
    }
    for key in wanted:
        put(full, key, values[key][0])
    return [Choice(key, *values[key]) for key in wanted]


DEFAULT_MINUTES = 30.0
STEP_SHARE = 0.8  # of the time planned for; the rest is validation
