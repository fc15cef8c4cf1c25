"""Augmentation: one warp, one colour stage, a batch at a time; the same options on CPU, GPU, in 2-D and 3-D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from malpighi.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from malpighi.sampling.colour import Colour
    from malpighi.sampling.stain_transfer import Restain
    from malpighi.sampling.warp import Warp

Array = TypeVar("Array", np.ndarray, "Tensor")

_WORDS = {
    "outside": ("reflect", "unlabelled"),
    "cutout_fill": ("black", "mean", "white"),
    "transfer_by": ("reinhard", "macenko", "vahadane"),
    "blend_seam": ("vertical", "horizontal", "random"),
}


@dataclass(frozen=True, slots=True)
class AugmentOptions:
    """How strongly training samples are varied; 0 leaves a transform out.

    Attributes:
        flips: mirror every axis with chance one half, and swap axes of equal size and spacing (so all 8 poses of a square).
        rotate: largest rotation in degrees; of volumes, within the slices: in the plane of the last two axes.
        tilt: of volumes, largest rotation out of the slices: in the planes that hold the first axis. A tilted sample is
            changed along all three axes, by every transform here. In others (all, where this is 0) slices stay slices: one
            2-D warp serves them all, no voxel is interpolated between them, and along the first axis they are only mirrored.
        scale: largest zoom: 0.2 draws from 1/1.2 to 1.2, evenly in the logarithm.
        shift: largest shift, as a part of the tile's side.
        shear: largest shear in degrees.
        elastic: standard deviation of random control-point shifts, in cells of an 8-cell lattice over the tile.
        distort: strength of grid, optical and piecewise-affine distortion: grid cells grow or shrink by up to this part.
        tone: strength of brightness, contrast and gamma; 0.2 changes each by up to a fifth.
        hue: largest turn of the hue, RGB only; 0.1 is 36 degrees. Limits that authors give for OpenCV's HSV are half degrees: 15 is
            0.083 here.
        saturation: largest change of the saturation, as a part of it, RGB only; of OpenCV's HSV, 25 of 255 is 0.098 here.
        stain: spread of the amounts of haematoxylin, eosin and DAB, RGB only (Tellez et al. 2018).
        blur: largest standard deviation of a Gaussian blur, in pixels.
        noise: largest standard deviation of Gaussian noise, as a part of the intensity range.
        chance: probability with which a sample gets each, whether or not it gets others ("one of" is not known here), of: affine (rotate, scale, aspect, shift, shear), tilt, elastic, grid,
            optical, piecewise-affine, tone, hue with saturation, stain, blur, noise, clahe, cutout.
        aspect: largest change of the aspect ratio, drawn as `scale` is: 0.2 makes a tile up to a fifth longer along one axis.
        clahe: clip limit of contrast-limited histogram equalisation of lightness, 8-bit images only; 2 is usual.
        cutout: largest side of the holes that are cut, as a part of the tile's side; targets stay.
        cutout_holes: of them, from 1 to so many.
        cutout_fill: "black", the tile's "mean", or "white": the slide's own glass.
        transfer: chance that a tile's stains are made those of another image (`transfer_to`), by `transfer_by`.
        transfer_by: "macenko" (Macenko et al. 2009), "vahadane" (Vahadane et al. 2016), or "reinhard": mean and deviation of tissue as
            Reinhard et al. 2001 match them, but along l, α, β of the logarithms of red, green and blue, not of their cone responses;
            glass is tinted by the difference of the means.
        transfer_to: folder of images, glob pattern, or empty: the training images themselves.
        match: chance, of a tile whose stains were not transferred, that its channels are changed as would give its whole image the
            histograms of an image of `transfer_to`.
        match_blend: least part of the matched tile in the mean with the tile as it was; the largest is 1.
        blend: chance that a tile becomes half of itself and half of another, joined by a Laplacian pyramid, mask half and half
            (Burt & Adelson 1983; HuBMAP + HPA 2022).
        blend_seam: "vertical", "horizontal", or "random": one of the two.
        cutmix: chance that a box of another tile is put in (Yun et al. 2019).
        mixup: chance of the weighted mean with another tile (Zhang et al. 2018); targets are then shares.
        same: the other tile of `blend`, `cutmix` and `mixup` is of a case with the same value of this attribute ("organ", "stain");
            empty, or where it is unknown: of any case.
        outside: what targets hold where the warp reaches beyond the input tile: the reflection, as images do, or
            "unlabelled" (255).
    """

    flips: bool = True
    rotate: float = 45.0
    scale: float = 0.2
    shift: float = 0.0625
    shear: float = 5.0
    elastic: float = 0.1
    distort: float = 0.0
    tone: float = 0.2
    hue: float = 0.05
    saturation: float = 0.2
    stain: float = 0.05
    blur: float = 1.0
    noise: float = 0.02
    chance: float = 0.5
    outside: Literal["reflect", "unlabelled"] = "reflect"
    tilt: float = 0.0
    aspect: float = 0.0
    clahe: float = 0.0
    cutout: float = 0.0
    cutout_holes: int = 4
    cutout_fill: Literal["black", "mean", "white"] = "black"
    transfer: float = 0.0
    transfer_by: Literal["reinhard", "macenko", "vahadane"] = "macenko"
    transfer_to: str = ""
    match: float = 0.0
    match_blend: float = 0.5
    blend: float = 0.0
    blend_seam: Literal["vertical", "horizontal", "random"] = "random"
    cutmix: float = 0.0
    mixup: float = 0.0
    same: str = "organ"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not (math.isfinite(value) and value >= 0):
                raise RecipeError(f"augment.{field.name} is {value}; it is a number of 0 or more")
        for name in ("chance", "transfer", "match", "match_blend", "blend", "cutmix", "mixup", "cutout"):
            if getattr(self, name) > 1:
                raise RecipeError(f"augment.{name} is {getattr(self, name)}; it lies between 0 and 1")
        if self.cutout_holes < 1:
            raise RecipeError(f"augment.cutout_holes is {self.cutout_holes}; it is at least 1")
        if self.shear >= 90 or self.distort >= 1:
            raise RecipeError(f"augment.shear {self.shear} must be below 90 degrees and augment.distort {self.distort} below 1")
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise RecipeError(f"augment.{name} is {getattr(self, name)!r}; use {' or '.join(map(repr, allowed))}")


_OFF = {
    "rotate": 0,
    "scale": 0,
    "shift": 0,
    "shear": 0,
    "elastic": 0,
    "tone": 0,
    "hue": 0,
    "saturation": 0,
    "stain": 0,
    "blur": 0,
    "noise": 0,
}
PRESETS: Mapping[str, AugmentOptions] = {
    "none": AugmentOptions(flips=False, **_OFF),  # type: ignore[arg-type]
    "flips": AugmentOptions(**_OFF),  # type: ignore[arg-type]
    "standard": AugmentOptions(),
    # flip, rotate, shift-scale-rotate, noise, blur, brightness/contrast, hue/saturation/value, optical, grid, piecewise-affine
    "ten": AugmentOptions(shear=0, elastic=0, distort=0.3, hue=0.08, saturation=0.32, stain=0, noise=0.03),
}
"""Ready-made options; "ten" is the set of ten transforms of the HuBMAP + HPA (2022) systems."""


def check_augment(options: AugmentOptions, rank: int, dtype: str, channels: int) -> None:
    """Refuse what images of this kind cannot be given.

    Raises:
        RecipeError: an option that is for 8-bit images, or for RGB, or for images and not volumes.
    """
    have = f"the images are {channels} × {dtype} with {rank} axes"
    plain = rank == 2 and dtype == "uint8"
    if options.clahe and not (plain and channels in (1, 3)):
        raise RecipeError(f"augment.clahe = {options.clahe} is for 8-bit images, grey or RGB; {have}: set it to 0")
    for name in ("transfer", "match"):
        if getattr(options, name) and not (plain and channels == 3):
            raise RecipeError(f"augment.{name} = {getattr(options, name)} is for 8-bit RGB images; {have}: set it to 0")
    if options.cutout and options.cutout_fill == "white" and not (plain and channels == 3):
        raise RecipeError(f"augment.cutout_fill = 'white' is for 8-bit RGB images; {have}: use 'black' or 'mean'")
    for name in ("blend", "cutmix", "mixup"):
        if getattr(options, name) and rank != 2:
            raise RecipeError(f"augment.{name} = {getattr(options, name)} is for images, not volumes; set it to 0")


def augment(
    images: Array,
    targets: Array,
    options: AugmentOptions,
    out_size: Sequence[int],
    seeds: Sequence[int],
    spacing: Sequence[float] | None = None,
    restains: Sequence[Restain] = (),
) -> tuple[Array, Array]:
    """Warp a batch and change its colours; each item by its own seed, whatever else is in the batch.

    NumPy batches go through OpenCV, volumes that are tilted through compiled loops; tensors through `grid_sample`. All warp
    alike; noise has the same distribution but not the same values.

    Args:
        images: (B, C, *in), uint8, uint16 (NumPy only) or float32; NumPy volumes of any type. Channels-last memory is read without a copy.
        targets: (B, K, *in), any dtype that OpenCV or torch can sample; 255 is a value like others. Floating ones are unlabelled
            where they are NaN.
        out_size: spatial size that comes out; each side at most the input's. The centre is used, so that an input tile
            larger than the output gives a rotation true tissue at its corners instead of reflection.
        seeds: one a batch item, see `seeds.item_seed`.
        spacing: voxel size by axis where it is not the same on all (3-D): rotations are then true rotations of the tissue.
        restains: one a batch item, see `stain_bank.Stains`; `transfer`, `match` and white holes need them. `blend`, `cutmix` and
            `mixup` join two items and happen afterwards: see `mix`.

    Returns:
        images (B, C, *out_size) and targets (B, K, *out_size), same dtypes; NumPy 2-D images in channels-last memory.

    Raises:
        RecipeError: the options hold what images of this kind cannot be given, see `check_augment`.
    """
    size, out = tuple(images.shape[2:]), tuple(int(n) for n in out_size)
    if len(out) != len(size) or any(o > n or o < 1 for o, n in zip(out, size, strict=True)):
        raise ValueError(f"out_size {out} must have the input's rank and be at most its size {size}")
    if len(seeds) != len(images) or tuple(targets.shape[2:]) != size or len(targets) != len(images):
        raise ValueError(f"{len(seeds)} seeds, images {tuple(images.shape)}, targets {tuple(targets.shape)} do not match")
    check_augment(options, len(size), str(images.dtype).removeprefix("torch."), images.shape[1])
    warps, colours = draw(options, out, seeds, images.shape[1], spacing, restains)
    apply: Any = _with_torch
    if isinstance(images, np.ndarray):
        apply = _with_opencv if len(out) == 2 else _volumes
    new, labels = apply(images, targets, warps, colours, out, options.outside)
    if options.outside == "unlabelled" and "float" in str(labels.dtype):
        labels[labels == 255] = math.nan
    return new, labels


def draw(
    options: AugmentOptions,
    out_size: Sequence[int],
    seeds: Sequence[int],
    channels: int,
    spacing: Sequence[float] | None = None,
    restains: Sequence[Restain] = (),
) -> tuple[list[Warp], list[Colour]]:
    """What happens to each item of a batch: its warp and its colour change.

    Raises:
        ValueError: stains were asked for, and there is not one `restains` an item.
    """
    from malpighi.sampling.colour import draw_colour
    from malpighi.sampling.seeds import stream
    from malpighi.sampling.warp import draw_warp

    warps = [draw_warp(stream(seed, 0), options, tuple(out_size), tuple(spacing or ())) for seed in seeds]
    if not restains:
        if options.transfer or options.match or (options.cutout and options.cutout_fill == "white"):
            raise ValueError("transfer, match and white holes need what `stain_bank.fit_stains` finds: give `restains`")
        return warps, [draw_colour(stream(seed, 1), options, channels) for seed in seeds]
    items = zip(seeds, restains, strict=True)
    return warps, [draw_colour(stream(seed, 1), options, channels, restain) for seed, restain in items]


def _with_opencv(
    images: np.ndarray, targets: np.ndarray, warps: list[Warp], colours: list[Colour], out: tuple[int, ...], outside: str
) -> tuple[np.ndarray, np.ndarray]:
    from malpighi.sampling.colour import apply_colour
    from malpighi.sampling.remap import warp_item

    new = np.empty((len(images), *out, images.shape[1]), images.dtype)
    labels = np.empty((len(targets), *out, targets.shape[1]), targets.dtype)
    for i, (warp, colour) in enumerate(zip(warps, colours, strict=True)):
        warp_item(images[i], targets[i], warp, new[i], labels[i], outside)
        apply_colour(new[i], colour)
    return new.transpose(0, 3, 1, 2), np.ascontiguousarray(labels.transpose(0, 3, 1, 2))


def _volumes(
    images: np.ndarray, targets: np.ndarray, warps: list[Warp], colours: list[Colour], out: tuple[int, ...], outside: str
) -> tuple[np.ndarray, np.ndarray]:
    from malpighi.sampling.colour_volume import apply_colour
    from malpighi.sampling.remap_volume import warp_volume
    from malpighi.sampling.warp import crop_start

    start = crop_start(images.shape[2:], out)
    items = zip(images, targets, warps, strict=True)
    warped, labels = zip(*(warp_volume(*item, out, start, outside) for item in items), strict=True)
    return np.stack([apply_colour(*item) for item in zip(warped, colours, strict=True)]), np.stack(labels)


def _with_torch(images: Any, targets: Any, warps: list[Warp], colours: list[Colour], out: tuple[int, ...], outside: str) -> Any:
    import torch

    from malpighi.sampling.colour_torch import apply_colour
    from malpighi.sampling.remap_torch import warp_batch

    with torch.no_grad():
        new, labels = warp_batch(images, targets, warps, out, outside)
        return apply_colour(new, colours), labels
