"""Small images of cells whose protein is in the nucleus or around it, prepared without looking for the cells."""

from dataclasses import replace

import numpy as np

from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.objects.cells import Cells
from malpighi.recipes.cells import CellDataOptions, CellsRecipe, StageOptions
from malpighi.sampling.augment import PRESETS
from malpighi.sampling.cell_data import CellData
from malpighi.sampling.cell_folder import ImageRow, Sizes, finish, write_image
from malpighi.sampling.folds import Fold
from malpighi.sampling.intensity import IntensityOptions
from malpighi.training.options import OptimOptions, TrainOptions

CLASSES = ("Nucleoplasm", "Cytosol")
SIDE, CROP = 64, 32


def dish(rng, kinds, dtype=np.uint8):
    """An image (4, 64, 64) of four cells and the cells: kinds[n] says where cell n + 1 has its protein, 0 nucleus, 1 around it."""
    y, x = np.mgrid[:SIDE, :SIDE]
    labels, nuclei = np.zeros((2, SIDE, SIDE), np.int32)
    image = rng.integers(0, 12, (4, SIDE, SIDE)).astype(dtype)
    for n, kind in enumerate(kinds, 1):
        middle = np.array([16 + 32 * ((n - 1) // 2), 16 + 32 * ((n - 1) % 2)]) + rng.integers(-2, 3, 2)
        far = np.hypot(y - middle[0], x - middle[1])
        labels[far < 13], nuclei[far < 6] = n, n
        for channel, where in (
            (0, far < 13),
            (1, (far < 6) if kind == 0 else (far < 13) & (far >= 6)),
            (2, far < 6),
            (3, far < 13),
        ):
            image[channel][where] += dtype(rng.integers(120, 160))
    return image, Cells(labels, nuclei, np.zeros(len(kinds), bool))


def prepared(folder, images=24, mixed=False, dtype=np.uint8):
    """Such a folder; every image shows one of the classes in all of its cells, `mixed`: both, in cells by chance."""
    rng = np.random.default_rng(0)
    rows, kinds = [], []
    for i in range(images):
        own = rng.integers(0, 2, 4) if mixed and i % 3 == 2 else np.full(4, i % 2)
        image, cells = dish(rng, own, dtype)
        write_image(folder, f"dish/{i}", image, cells, Sizes(SIDE, CROP, 0.1))
        rows.append(ImageRow(f"dish/{i}", "", "", tuple(CLASSES[k] for k in np.unique(own))))
        kinds += own.tolist()
    finish(folder, rows, {"classes": CLASSES, "channels": ["red", "green", "blue", "yellow"], "side": SIDE, "crop": CROP})
    return CellData.open(folder), np.array(kinds)


def fold(images=24):
    """The last third is held out."""
    first = images * 2 // 3
    return Fold(tuple(range(first)), tuple(range(first, images)))


def recipe(steps=32, **image):
    """A small network that learns this in seconds; the cell stage is the same one, `image` changes the first."""
    stage = StageOptions(
        model=ClassifierOptions(encoder="resnet10t", pretrained="never"),
        loss=LabelLossOptions(),
        augment=PRESETS["flips"],
        optim=OptimOptions(rate=2e-3, average=0.8),
        train=TrainOptions(steps=steps, batch=8, validate_every=steps // 2, loaders=1, log_every=5),
    )
    return CellsRecipe(
        data=CellDataOptions(side=SIDE, crop=CROP, margin=0.1),
        intensity=IntensityOptions(kind="percentile"),
        image=replace(stage, **image),
        cell=stage,
    )
