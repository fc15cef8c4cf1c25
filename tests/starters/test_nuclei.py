"""The model that comes with malpighi: small enough, found by name, and as good as its card says on images it may have seen."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.metrics.instances import Intersections, average_precisions, match
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.run import find_run
from malpighi.tasks.segment import segment


def _dots(shape=(256, 320), radius=9.0, gap=40):
    """Bright discs on black, and how many."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = [(r, c) for r in range(gap, shape[0] - 20, gap) for c in range(gap, shape[1] - 20, gap)]
    image = np.full(shape, 8.0)
    for r, c in centres:
        image += 170 / (1 + np.exp(np.clip(np.hypot(y - r, x - c) - radius, -30, 30)))
    return image.clip(0, 255).astype(np.uint8), len(centres)


def test_it_is_small_and_says_what_it_is():
    folder = find_run("nuclei")
    assert (folder / "weights.safetensors").stat().st_size <= 8e6
    card = (folder / "MODEL_CARD.md").read_text()
    for said in ("CC0", "AP50", "fluorescence", "stained tissue", "Limits", "licence"):
        assert said in card


def test_it_finds_every_one_of_a_few_dots_in_a_gray_image(tmp_path):
    image, count = _dots()
    tifffile.imwrite(tmp_path / "dots.tif", image)
    assert segment([tmp_path / "dots.tif"], "nuclei", tmp_path / "out")["objects"] == {"nucleus": count}


def test_an_image_that_says_its_pixel_size_is_worked_at_half_a_micrometre(tmp_path):
    image, count = _dots((512, 640), radius=18.0, gap=80)
    tifffile.imwrite(tmp_path / "dots.ome.tif", image, metadata={"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25})
    told = segment([tmp_path / "dots.ome.tif"], "nuclei", tmp_path / "out")
    assert told["objects"] == {"nucleus": count}
    assert Prediction(Path(told["outputs"][0])).space.shape == (512, 640)
    by_hand = segment([tmp_path / "dots.ome.tif"], "nuclei", tmp_path / "again", spacing=0.25)
    assert by_hand["objects"] == {"nucleus": count}


@pytest.mark.real_data
def test_real_nuclei(real, tmp_path):
    images = sorted((real / "nuclei" / "images").glob("*.png"))[::60]
    told = segment(images, "nuclei", tmp_path)
    scores = []
    for image, folder in zip(images, told["outputs"], strict=True):
        with open_image(real / "nuclei" / "labels" / image.name, labels=True) as source:
            whole = Box.of_shape(source.shape)
            truth = source.read(whole)[0].astype(np.int64)
        shared = Intersections()
        shared.add(Prediction(Path(folder)).instances(whole), truth)
        scores.append((match(shared.pairs()).average_precision, np.mean(list(average_precisions(shared.pairs()).values()))))
    ap50, mean = np.mean(scores, axis=0)
    assert ap50 >= 0.63  # nine images of all kinds; the card speaks of 102
    assert mean >= 0.4
