"""What options of a network contradict one another, each as a sentence that says what to do; without torch."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from malpighi.models.architectures import DECODERS, PARTS, VOLUME, WIDTHS

if TYPE_CHECKING:
    from malpighi.models.build import ModelOptions

PLAIN = ("none", "nearest", 0, False, ())


def contradiction(options: ModelOptions) -> str:
    """The first thing that is wrong with `options`; empty: nothing."""
    checks = (_wrong_slices, _wrong_parts, _wrong_encoder, _wrong_widths, _wrong_numbers, _wrong_tells)
    return next((wrong for wrong in (check(options) for check in checks) if wrong), "")


def _wrong_slices(options: ModelOptions) -> str:
    k, m = options.slices_in, options.slices_out
    if k < 0 or (k and k % 2 == 0 and m == 1):
        return f"model.slices_in {k}: give an odd number, so that one slice is central, or 0 for none"
    if m not in (1, max(1, k)):
        return f"model.slices_out {m}: with model.slices_in = {k} it is 1{f' or {k}' if k > 1 else ''}"
    if k and options.architecture in VOLUME:
        return f'model.slices_in {k}: "{options.architecture}" is 3-D by itself; set model.slices_in = 0, or choose "unet"'
    if options.repeat < 1 or (options.repeat > 1 and not k):
        return f"model.repeat {options.repeat}: it repeats slices of a volume; set model.slices_in = 1, or model.repeat = 1"
    return ""


def _wrong_parts(options: ModelOptions) -> str:
    name = options.architecture
    for part, (takers, off) in PARTS.items():
        value = getattr(options, part)
        if value not in PLAIN and name not in takers:
            others = " or ".join(f'"{taker}"' for taker in takers)
            value = list(value) if isinstance(value, tuple) else value
            return (
                f'model.{part} {value!r}: "{name}" takes no {part}; set model.architecture = {others}, or model.{part} = {off}'
            )
    return ""


def _wrong_encoder(options: ModelOptions) -> str:
    name, widths = options.architecture, options.decoder_channels
    if name in WIDTHS and widths:
        return f'model.decoder_channels {widths}: "{name}" has no encoder; give model.widths instead'
    if not 0 <= options.drop_path < 1 or (options.drop_path and name in WIDTHS):
        return f"model.drop_path {options.drop_path}: a chance of 0 (off) or more and less than 1, of networks with an encoder"
    if name in WIDTHS and options.pretrained == "required":
        return f'model.pretrained = "required": "{name}" has no published weights; set it to "never"'
    if name in DECODERS and widths and (len(widths) != DECODERS[name].widths or min(widths) < 1):
        count = {1: "one positive number", 5: "five positive numbers"}[DECODERS[name].widths]
        return (
            f"model.decoder_channels {list(widths)}: {name} takes {count}, {DECODERS[name].what}; give them, or [] for its own"
        )
    return ""


def _wrong_widths(options: ModelOptions) -> str:
    name, widths = options.architecture, options.widths
    if widths and name not in WIDTHS:
        return f'model.widths {widths}: "{name}" has an encoder; give model.encoder and model.decoder_channels instead'
    if widths and (len(widths) < 3 or min(widths) < 1):
        return f"model.widths {widths}: give at least three positive numbers, fine to coarse"
    if name == "segresnet" and any(b != 2 * a for a, b in itertools.pairwise(widths)):
        return f"model.widths {widths}: of segresnet each is twice the one before, such as {WIDTHS[name]}"
    allowed = len(widths or WIDTHS[name]) - 1 if name in VOLUME - {"segresnet"} else 0
    if not 0 <= options.flat <= allowed:
        return f'model.flat {options.flat}: of this "{name}" it lies between 0 and {allowed}'
    return ""


def _wrong_numbers(options: ModelOptions) -> str:
    if not 0 <= options.dropout < 1:
        return f"model.dropout {options.dropout}: a share of features, at least 0 and less than 1"
    if not 0 <= options.deep <= DECODERS["unet"].widths - 1:
        return f"model.deep {options.deep}: a U-Net has {DECODERS['unet'].widths - 1} stages before its last; give 0 to as many"
    return ""


def _wrong_tells(options: ModelOptions) -> str:
    if len(set(options.tells)) < len(options.tells) or "" in options.tells:
        return f"model.tells {list(options.tells)}: name each attribute once"
    if "tile" in options.tells:
        return 'model.tells "tile": the class of the tile has an option of its own; set model.tile_class = true'
    return ""
