"""The bank: what is known of the stains of the training images, and of those that theirs are made to look like."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images import Source, is_image, open_image
from malpighi.sampling.augment import AugmentOptions
from malpighi.sampling.blank import tissue_mask
from malpighi.sampling.files import images_in
from malpighi.sampling.seeds import stream
from malpighi.sampling.stain_fit import Staining, fit_staining
from malpighi.sampling.stain_transfer import Restain, blended, matching, transfer

_WHOLE = 1 << 20  # pixels: an image of as many at the working spacing is read whole
_BOXES, _SIDE = 16, 256  # of a larger one so many boxes are read, where there is tissue
_COARSE = 1 << 20  # pixels of the look for glass
_LEAST_GLASS = 64  # pixels of glass from which its colour is taken


class Opened(Protocol):
    """A case whose image is open."""

    @property
    def source(self) -> Source:
        """The image."""
        ...


@dataclass(frozen=True)
class Stains:
    """What a sample's stains may become; `restain` draws it.

    Attributes:
        own: one a training case, in their order.
        bank: the images that cases are made to look like; `own` itself where no others were named.
    """

    own: tuple[Staining, ...]
    bank: tuple[Staining, ...]

    def restain(self, seed: int, case: int, options: AugmentOptions) -> Restain:
        """What happens to a sample of training case number `case`: by its own seed, whatever else is drawn.

        Of a case, or to an image, whose stains could not be fitted nothing is transferred. A tile whose stains are transferred is
        not matched too: it would be made like the target twice.
        """
        rng = stream(seed, 2)
        source = self.own[case]
        target = self.bank[self._other(rng, case)]
        density, tables = None, None
        if rng.random() < options.transfer:
            density = transfer(source, target)
        if rng.random() < options.match:
            part = rng.uniform(min(options.match_blend, 1.0), 1.0)
            tables = blended(matching(source.counts, target.counts), part) if density is None else None
        return Restain(density, tables, source.white)

    def _other(self, rng: np.random.Generator, case: int) -> int:
        """An image of the bank; where the bank is the training cases, another than the case itself."""
        if self.bank is not self.own or len(self.own) == 1:
            return int(rng.integers(len(self.bank)))
        drawn = int(rng.integers(len(self.bank) - 1))
        return drawn + (drawn >= case)


def needs_stains(options: AugmentOptions) -> bool:
    """Whether anything asked for needs to know the images' stains or glass."""
    return bool(options.transfer or options.match or (options.cutout and options.cutout_fill == "white"))


def fit_stains(
    cases: Sequence[Opened],
    spacing: Spacing,
    options: AugmentOptions,
    advance: Callable[..., None] = lambda *_: None,
    remark: Callable[[str], None] = lambda _: None,
) -> Stains:
    """Look at every case, and at every image of `transfer_to`, once.

    Args:
        spacing: working spacing; images of the bank of unknown pixel size are looked at as they are.
        advance: called after each image.
        remark: takes one line on the images in which no two stains were found.

    Raises:
        DataError: `transfer_to` names no image, or one that is not 8-bit RGB.
    """
    own, looked = [], dict[int, Staining]()
    for case in cases:
        if id(case.source) not in looked:  # an image may stand here at several spacings
            looked[id(case.source)] = staining_of(case.source, spacing, options.transfer_by)
            advance()
        own.append(looked[id(case.source)])
    names = [case.source.name for case in cases]
    if not (options.transfer_to and (options.transfer or options.match)):
        bank = tuple(own)
        _remark(options, names, bank, remark)
        return Stains(bank, bank)
    targets = []
    paths = bank_images(options.transfer_to)
    for path in paths:
        with open_image(path) as source:
            targets.append(staining_of(source, spacing, options.transfer_by))
        advance()
    _remark(options, [*names, *map(str, paths)], (*own, *targets), remark)
    return Stains(tuple(own), tuple(targets))


def _remark(options: AugmentOptions, names: list[str], found: Sequence[Staining], remark: Callable[[str], None]) -> None:
    if not options.transfer:
        return
    lacking = [n for n, one in zip(names, found, strict=True) if one.vectors is None and one.centre is None]
    if lacking:
        shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
        remark(
            f"no stains for {options.transfer_by} in {len(lacking)} of {len(names)} images ({shown}): too little tissue, or "
            "one colour only; they keep theirs, and give none"
        )


def bank_images(where: str) -> list[Path]:
    """The images of a folder, or those that a glob pattern finds, in natural order.

    Raises:
        DataError: there is none.
    """
    folder = Path(where).expanduser()
    if folder.is_dir() and not is_image(folder):
        found = images_in(folder)
    else:
        found = [path for path in map(Path, sorted(glob.glob(str(folder), recursive=True))) if is_image(path)]
    if not found:
        raise DataError(
            f"augment.transfer_to {where!r}: no image there; give a folder of images, or a pattern such as 'pas/*.png'"
        )
    return found


def staining_of(source: Source, spacing: Spacing, by: str) -> Staining:
    """Look at one image: its glass at low resolution, its tissue at the working spacing, where contrast is what tiles have.

    Raises:
        DataError: not 8-bit RGB in 2-D.
    """
    if source.dtype != np.uint8 or len(source.channels) != 3 or source.space.rank != 2:
        raise DataError(
            f"{source.name}: {len(source.channels)} × {source.dtype} with {source.space.rank} axes has no stains; stain transfer, "
            "histogram matching and white holes are for 8-bit RGB images"
        )
    if spacing.physical != source.space.spacing.physical:
        spacing = source.space.spacing
    return fit_staining(_sample(source, spacing), by, glass_white(source))


def glass_white(source: Source) -> tuple[float, ...]:
    """Colour of the slide's glass, 0 … 255: the median of what `tissue_mask` leaves, or of the brightest hundredth."""
    spacing = source.space.spacing.times(max(1.0, math.sqrt(math.prod(source.shape) / _COARSE)))
    mask = tissue_mask(source, spacing)
    glass, brightest = [], []
    for box in Box.of_shape(source.space.shape_at(spacing)).split((512, 512)):
        pixels = source.read_at(box, spacing).reshape(3, -1).T
        if mask.tissue is not None:
            glass.append(pixels[~mask.tissue[box.slices].ravel()])
        light = pixels.min(1)
        brightest.append(pixels[light >= np.percentile(light, 99)])
    found = np.concatenate(glass) if glass else np.empty((0, 3))
    if len(found) < _LEAST_GLASS:
        found = np.concatenate(brightest)
        light = found.min(1)
        found = found[light >= np.median(light)]  # boxes wholly of tissue gave their brightest too
    return tuple(float(v) for v in np.median(found, axis=0))


def _sample(source: Source, spacing: Spacing) -> np.ndarray:
    """(n, 3) pixels at `spacing`: all of a small image, else boxes spread over the tissue; the same ones every time."""
    shape = source.space.shape_at(spacing)
    if math.prod(shape) <= _WHOLE:
        return source.read_at(Box.of_shape(shape), spacing).reshape(3, -1).T
    mask = tissue_mask(source)
    tissue = mask.tissue
    places = np.argwhere(tissue) if tissue is not None else np.empty((0, 2))
    if not len(places):
        assert tissue is not None
        places = np.argwhere(np.ones_like(tissue))
    chosen = places[stream(len(places)).integers(len(places), size=_BOXES)] + 0.5
    ratio = mask.spacing.over(spacing)
    boxes = [
        Box(
            tuple(int(min(max(0, p * r - _SIDE / 2), max(0, n - _SIDE))) for p, r, n in zip(at, ratio, shape, strict=True)),
            (_SIDE,) * 2,
        )
        for at in chosen
    ]
    return np.concatenate([source.read_at(box, spacing).reshape(3, -1).T for box in boxes])
