"""Augmentation of a 1024² RGB image and its mask on one core: malpighi against albumentations 2.0.8, side by side.

    uv run --with-requirements benchmarks/requirements.txt python benchmarks/augment.py [--side 1024] [--rounds 15] [--piecewise]

Both get the same image, the same OpenCV on one thread, and every transform in every call (all probabilities 1). Rounds alternate,
so that a busy machine slows both; medians of processor time. PiecewiseAffine of albumentations takes seconds at this size, so
the chains are timed without it and with elastic in its place; `--piecewise` times the literal ten as well.

`--volumes` times patches and stacks of slices instead, uint16, against torch's `grid_sample` with the same maps (what MONAI's
`Rand3DElastic` and `RandAffine` call), and needs nothing that malpighi does not.
"""

# ruff: noqa: E402  (thread counts are set before NumPy is loaded)

from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy is loaded
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from malpighi.sampling.augment import PRESETS, AugmentOptions, augment

NONE = replace(PRESETS["none"], chance=1.0)
TEN = replace(PRESETS["ten"], chance=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--piecewise", action="store_true", help="also the chain with PiecewiseAffine, seconds a call")
    parser.add_argument("--volumes", action="store_true", help="3-D tiles, against grid_sample")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.volumes:
        volumes(args.rounds)
        return
    image, mask = tissue_like(args.side)
    print(f"{args.side}² RGB + mask, one core, {args.rounds} alternating rounds, median CPU ms; OpenCV {cv2.__version__}")
    print(f"{'transforms':58s} {'malpighi':>9s} {'albumentations':>15s} {'ratio':>7s}")
    for name, options, chain in rows(args.piecewise):
        ours, theirs = measure(ours_on(image, mask, options), theirs_on(image, mask, chain), args.rounds)
        print(f"{name:58s} {ours:9.2f} {theirs:15.1f} {theirs / ours:6.1f}×", flush=True)


def volumes(rounds: int) -> None:
    """A table of 3-D tiles: slices that stay slices, tilted, and colours."""
    import torch

    torch.set_num_threads(1)
    geometry = replace(NONE, flips=True, rotate=30.0, scale=0.2, shift=0.0625, shear=5.0, elastic=0.1)
    colours = replace(NONE, tone=0.2, blur=1.0, noise=0.02)
    kinds = {
        "warp, slices stay slices": geometry,
        "warp, tilted by up to 30 degrees": replace(geometry, tilt=30.0),
        "tone, blur, noise": colours,
    }
    print(f"uint16 and mask, one core, {rounds} alternating rounds, median CPU ms; torch {torch.__version__}")
    print(f"{'tile':16s} {'transforms':40s} {'malpighi':>9s} {'grid_sample':>12s} {'ratio':>7s}")
    for tile in ((96, 96, 96), (3, 256, 256), (1, 512, 512)):
        image = np.random.default_rng(0).integers(0, 4096, (1, 1, *(n + n // 4 for n in tile))).astype(np.uint16)
        mask = (image > 2000).astype(np.uint8)
        tensors = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(mask)
        for name, options in kinds.items():
            ours, theirs = measure(
                lambda n, o=options, t=tile, i=image, m=mask: augment(i, m, o, t, [n]),
                lambda n, o=options, t=tile, p=tensors: augment(*p, o, t, [n]),
                rounds,
            )
            print(f"{' × '.join(map(str, tile)):16s} {name:40s} {ours:9.1f} {theirs:12.1f} {theirs / ours:6.1f}×", flush=True)


def rows(piecewise: bool) -> list[tuple[str, AugmentOptions, list]]:
    warnings.simplefilter("ignore")
    import albumentations as A

    reflect = {"border_mode": cv2.BORDER_REFLECT_101, "p": 1}
    flips = [A.HorizontalFlip(p=1), A.RandomRotate90(p=1)]
    affine = [A.ShiftScaleRotate(shift_limit=0.0625, scale_limit=0.2, rotate_limit=45, **reflect)]
    elastic, grid, optical = A.ElasticTransform(**reflect), A.GridDistortion(**reflect), A.OpticalDistortion(**reflect)
    tone, hue = A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)
    blur, noise, stain = A.GaussianBlur(p=1), A.GaussNoise(p=1), A.HEStain(p=1)
    geometry = replace(NONE, flips=True, rotate=45.0, scale=0.2, shift=0.0625)
    nine = [*flips, *affine, noise, blur, tone, hue, optical, grid]
    everything = replace(TEN, elastic=0.1, stain=0.05)
    table = [
        ("flips, quarter turns", replace(NONE, flips=True), flips),
        ("+ shift, scale, rotate", geometry, [*flips, *affine]),
        ("+ elastic, grid", replace(geometry, elastic=0.1, distort=0.3), [*flips, *affine, elastic, grid]),
        ("brightness, contrast", replace(NONE, tone=0.2), [tone]),
        ("hue, saturation", replace(NONE, hue=0.08, saturation=0.32), [hue]),
        ("stain (HED)", replace(NONE, stain=0.05), [stain]),
        ("blur", replace(NONE, blur=1.0), [blur]),
        ("noise", replace(NONE, noise=0.03), [noise]),
        ("the ten; albumentations without piecewise-affine", TEN, nine),
        ("the ten; albumentations' elastic for piecewise-affine", TEN, [*nine, elastic]),
        ("the ten, elastic, stain; albumentations without piecewise", everything, [*nine, elastic, stain]),
    ]
    if piecewise:
        table.append(("the ten; albumentations with its PiecewiseAffine", TEN, [*nine, A.PiecewiseAffine(p=1)]))
    return table


def ours_on(image: np.ndarray, mask: np.ndarray, options: AugmentOptions) -> Callable[[int], object]:
    images, targets = image.transpose(2, 0, 1)[None], mask[None, None]
    return lambda n: augment(images, targets, options, mask.shape, [n])


def theirs_on(image: np.ndarray, mask: np.ndarray, chain: list) -> Callable[[int], object]:
    import albumentations as A

    composed = A.Compose(chain, seed=0)
    return lambda n: composed(image=image, mask=mask)


def measure(ours: Callable[[int], object], theirs: Callable[[int], object], rounds: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(-1, rounds):
        for call, kept in zip((ours, theirs), times, strict=True):
            began = time.process_time()
            call(n + 1)
            if n >= 0:  # the first round warms up
                kept.append((time.process_time() - began) * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])


def tissue_like(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random colours and their brighter half as a mask."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)
    return image, (image[..., 0] > 127).astype(np.uint8)


if __name__ == "__main__":
    main()
