"""Steps of `segment` that are not the engine's."""

import numpy as np
import scipy.ndimage

from malpighi.geometry import Box, Spacing
from malpighi.inference.store import PredictionStore
from malpighi.objects.measure import ObjectOptions
from malpighi.tasks.after import clean_masks


def test_specks_are_dropped_everywhere_and_large_objects_stay(tmp_path):
    # many boxes to a block of the labelling: a box that was tidied must not renumber the next one's pieces
    shape = (1500, 1100)
    rng = np.random.default_rng(3)
    mask = np.zeros(shape, bool)
    for y, x in rng.integers(20, (1480, 1080), (400, 2)):
        side = int(rng.choice([2, 5, 24]))
        mask[y : y + side, x : x + side] = True
    labels, _ = scipy.ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    wanted = mask & (sizes >= 100)[labels]
    assert wanted.any()
    assert (mask & ~wanted).any()
    with PredictionStore(tmp_path / "out", shape, Spacing.um(2.0, 2), ["gland"], [0.5]) as store:
        for box in Box.of_shape(shape).split(store.align):
            store.add(box, mask[box.slices][None].astype(np.float32))
        clean_masks(store, Spacing.um(2.0, 2), ObjectOptions(min_area=400.0))
        kept = store.read_mask(0)(Box.of_shape(shape))
    np.testing.assert_array_equal(kept.astype(bool), wanted)
