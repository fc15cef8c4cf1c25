"""`auto` for volumes: what differs from images. Same table, same form: a value and its reason."""

from __future__ import annotations

import math

from malpighi.models.build import VOLUME
from malpighi.recipes.facts import DataFacts, MachineFacts, Raw, Rule, get

THIN = 48  # a stack with fewer slices has no useful other direction
LONG = 1.05  # nor has one whose voxels are no cubes: slices along y would show the tissue stretched
SLICES = 3
SPECK_VOXELS = 64


def _sliced(data: DataFacts) -> str:
    """Why slices are cut along z alone; empty where all directions are as good."""
    long = data.voxel[0] / data.voxel[-1]
    if data.shape[0] < THIN:
        return f"the volumes have only {data.shape[0]} slices"
    if max(long, 1 / long) > LONG:
        return f"voxels are {long:.2g} times as long as wide"
    return ""


def _spacing(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[float | list[float], str]:
    if max(data.voxel) / min(data.voxel) <= LONG:
        return data.voxel[-1], "full resolution: vessels are thin"
    return list(data.voxel), "full resolution along every axis: vessels are thin"


def _solid(raw: Raw) -> bool:
    """Whether the network is 3-D by itself."""
    return get(raw, "model.architecture") in VOLUME


def _axes(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[str], str]:
    if _solid(raw):
        return ["z"], "the network is 3-D by itself: one direction shows it all"
    why = _sliced(data)
    return (["z"], why) if why else (["z", "y", "x"], "voxels are as long as wide: slices along all three axes, averaged")


def _slices_in(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    if _solid(raw):
        return 0, "the network is 3-D by itself"
    return SLICES, "neighbouring slices show an image encoder some depth, at the price of a 2-D network"


def _slices_out(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    k = get(raw, "model.slices_in")
    if not k:
        return 1, "the network is 3-D by itself"
    return k, f"all {k} slices that go in come out; overlapping answers are averaged"


def _tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    if _solid(raw):
        sides = [min(128 if machine.gpu else 64, _up(n, 16)) for n in data.shape]
        return (
            sides,
            f"what {'a GPU' if machine.gpu else 'a CPU'} learns from in reasonable time; no more than the volumes hold",
        )
    side = min(256 if machine.gpu else 128, _up(min(data.shape[-2:]), 32))
    return [get(raw, "model.slices_in"), side, side], f"slices of {side}²: vessels need little around them"


def _up(n: int, step: int) -> int:
    return step * math.ceil(n / step)


def _per(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    return "image", "scanners differ from volume to volume: each is scaled by its own percentiles"


def _encoder(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[str, str]:
    if _solid(raw):
        return "resnet18", "of no use: the network has no encoder"
    return ("resnet34", f"a GPU ({machine.name}) affords it") if machine.gpu else ("resnet18", "a CPU affords it")


def _decoder(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    if get(raw, "model.architecture") != "unet":
        return [], "the network's own"
    if machine.gpu:
        return [256, 128, 64, 32, 32], "the usual widths of a U-Net, wider at full resolution: vessels are thin"
    return [128, 64, 32, 32, 16], "a light decoder: on a CPU its full-resolution stages cost most"


def _batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    tile = get(raw, "data.tile")
    share = math.prod(tile[-3:] if _solid(raw) else tile[-2:]) / (64**3 if _solid(raw) else 128**2)
    most, least, usual = (64, 2, 4 if _solid(raw) else 16) if machine.gpu else (32, 2, 2 if _solid(raw) else 16)
    usual = usual * max(1, round(machine.memory_gb / 40)) if machine.gpu else usual
    value = max(least, min(most, round(usual / share)))
    return value, f"{value} tiles of {' × '.join(str(n) for n in tile)} a step suit {'the device' if machine.gpu else 'a CPU'}"


def _predict_tile(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[list[int], str]:
    if _solid(raw):
        sides = [min(160 if machine.gpu else 96, _up(n, 16)) for n in data.shape]
        return sides, "larger than in training: less overlap"
    if len(get(raw, "data.axes")) > 1:
        return [min(192, n) for n in data.shape], "cubes, cut along every axis in memory"
    return [min(64, data.shape[0]), *(min(512, n) for n in data.shape[1:])], "stacks of slices"


def _predict_batch(data: DataFacts, machine: MachineFacts, raw: Raw) -> tuple[int, str]:
    return 1, "a tile of a volume is work enough at a time"


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
    "model.decoder_channels": _decoder,
    "train.batch": _batch,
    "predict.tile": _predict_tile,
    "predict.batch": _predict_batch,
    "objects.min_area": _min_area,
}
"""Rules that replace those of `plan.RULES`."""
