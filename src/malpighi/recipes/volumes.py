"""`auto` for volumes: what differs from images. Same table, same form: a value and its reason."""

from __future__ import annotations

import math

from malpighi.recipes.facts import DataFacts, MachineFacts, Raw, Rule, get

THIN = 48  # a stack with fewer slices, or with voxels this many times as long as wide, has no useful other direction
LONG = 2.0
SLICES = 3
SPECK_VOXELS = 64


def _sliced(data: DataFacts) -> str:
    """Why slices are cut along z alone; empty where all directions are as good."""
    long = data.voxel[0] / data.voxel[-1]
    if data.shape[0] < THIN:
        return f"the volumes have only {data.shape[0]} slices"
    if long > LONG:
        return f"voxels are {long:.1f} times as long as wide"
    return ""


def _spacing(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float | list[float], str]:
    if len(set(data.voxel)) == 1:
        return data.voxel[0], "full resolution: vessels are thin"
    return list(data.voxel), "full resolution along every axis: vessels are thin"


def _axes(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[str], str]:
    why = _sliced(data)
    return (["z"], why) if why else (["z", "y", "x"], "voxels are as long as wide: slices along all three axes, averaged")


def _slices_in(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    return (
        SLICES,
        f"{SLICES} neighbouring slices: the encoders of images see some depth, and learn in a fraction of a 3-D network's time",
    )


def _slices_out(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    k = get(raw, "model.slices_in")
    return k, f"all {k} slices that go in come out; overlapping answers are averaged"


def _tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    side = 256 if machine.gpu else 128
    fitting = 32 * max(1, math.ceil(min(data.shape[-2:]) / 32))
    value = min(side, fitting)
    return [
        get(raw, "model.slices_in"),
        value,
        value,
    ], f"slices of {value}²: {'the images allow no more' if value < side else 'vessels need little around them'}"


def _per(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    return "image", "scanners differ from volume to volume: each is scaled by its own percentiles"


def _encoder(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    return ("resnet34", f"a GPU ({machine.name}) affords it") if machine.gpu else ("resnet18", "a CPU affords it")


def _batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    side = get(raw, "data.tile")[-1]
    value = (
        int(max(8, min(64, machine.memory_gb * 2 * (256 / side) ** 2)))
        if machine.gpu
        else max(4, round(16 * (128 / side) ** 2))
    )
    return value, f"{value} tiles of {side}² a step"


def _predict_tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    sides = [min(192, 32 * math.ceil(n / 32)) for n in data.shape]
    if len(get(raw, "data.axes")) == 1:
        sides = [min(64, data.shape[0]), *(min(384, 32 * math.ceil(n / 32)) for n in data.shape[1:])]
    return sides, "cubes that are cut along every axis in memory" if len(get(raw, "data.axes")) > 1 else "stacks of slices"


def _predict_batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    return 1, "a tile of a volume is a batch of slices by itself"


def _min_area(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float, str]:
    value = float(f"{SPECK_VOXELS * math.prod(data.voxel):.3g}")
    return value, f"fewer than {SPECK_VOXELS} voxels are a speck, not a vessel"


VOLUME_RULES: dict[str, Rule] = {
    "task": lambda data, machine, raw: ("vessels", "the data are volumes"),
    "data.spacing": _spacing,
    "data.axes": _axes,
    "model.slices_in": _slices_in,
    "model.slices_out": _slices_out,
    "data.tile": _tile,
    "intensity.per": _per,
    "model.encoder": _encoder,
    "train.batch": _batch,
    "predict.tile": _predict_tile,
    "predict.batch": _predict_batch,
    "objects.min_area": _min_area,
}
"""Rules that replace those of `plan.RULES`."""
