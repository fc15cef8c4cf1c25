"""A detector that sees whole discs beside a network that sees parts of them; each has a channel of the image for itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.inference.options import PredictOptions
from malpighi.inference.store import PredictionStore
from malpighi.models.boxes import BoxOptions
from malpighi.objects.boxes import ellipse
from malpighi.objects.hull import Hull
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.boxes import mend
from malpighi.tasks.ensemble.folder import Ensemble, Part
from malpighi.tasks.ensemble.options import Options
from malpighi.tasks.ensemble.predict import OpenEnsemble
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.run import Inputs, TrainedRun
from malpighi.tasks.segment import Model, segment_image
from malpighi.tasks.within import Within

SHAPE, SPACING = (2100, 200), Spacing.um(0.5)  # longer than the boxes that a store is written in
WHOLE, HALF, NONE, LONG = (100, 100), (300, 60), (500, 100), (2048, 100)
RADIUS = 30


def disc(centre):
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 <= RADIUS**2


def image():
    """Channel 0, which the detector sees: four discs. Channel 1, the network's: all of one, a part of two, nothing of one."""
    discs = {centre: disc(centre) for centre in (WHOLE, HALF, NONE, LONG)}
    part = discs[WHOLE].copy()
    for centre in (HALF, LONG):
        part |= discs[centre] & (np.arange(SHAPE[1]) < centre[1])[None]
    return ArraySource(np.stack([np.any(list(discs.values()), axis=0), part]).astype(np.uint8) * 255, SPACING)


def see(images):
    import cv2

    found = []
    for each in images:
        mask = (each[0].numpy() > 0).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:count].tolist()], dtype=torch.float32)
        found.append(
            {
                "boxes": boxes.reshape(-1, 4),
                "scores": torch.full((count - 1,), 0.9),
                "labels": torch.zeros(count - 1, dtype=torch.int64),
            }
        )
    return found


def model(kind="fcos", spacing=SPACING, **options):
    inputs = Inputs(("gland",), 2, spacing, Intensity.identity(2), "uint8")
    predict = PredictOptions(tile=256, overlap=0.5, window="center", skip_blank=False)
    network = lambda tiles: tiles[:, 1:].astype(np.float32) / 255  # noqa: E731
    run = TrainedRun("run", Recipe(), inputs)
    boxes = BoxOptions(kind=kind, **options)
    return Model(run, network, predict, ObjectOptions(), InstanceOptions(), "cpu", "abc", (1, 1), boxes)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(mend, "open_detector", lambda run, device: SimpleNamespace(net=see))
    monkeypatch.setattr(mend, "detector_digest", lambda path: "digest")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "image").write_text("")
    return tmp_path / "image"


def mask_of(folder):
    made = Prediction(folder)
    return made.rasterise(Box.of_shape(SHAPE))[0] > 0


def segmented(path, folder, made, **more):
    segment_image(made, image(), path, folder, report=False, **more)
    return mask_of(folder)


def filled(*centres):
    """The network's masks, and the ellipses of these discs' boxes."""
    mask = image().read(Box.of_shape(SHAPE))[1] > 0
    for y, x in centres:
        mask |= ellipse(np.array([y - RADIUS, x - RADIUS, y + RADIUS, x + RADIUS]), Box.of_shape(SHAPE))
    return mask


def test_parts_become_whole_and_nothing_else_changes(path, tmp_path):
    mask = segmented(path, tmp_path / "out", model())
    np.testing.assert_array_equal(mask, filled(HALF, LONG))
    assert not mask[disc(NONE)].any()  # the detector alone says nothing


def test_the_table_says_what_was_done_in_the_images_pixels(path, tmp_path):
    segmented(path, tmp_path / "out", model())
    table = pq.read_table(tmp_path / "out" / "boxes.parquet")
    rows = sorted(table.to_pylist(), key=lambda row: row["y_min"])
    assert [(row["y_min"], row["x_min"], row["y_max"], row["x_max"]) for row in rows] == [
        (y - RADIUS, x - RADIUS, y + RADIUS, x + RADIUS) for y, x in (WHOLE, HALF, NONE, LONG)
    ]
    assert [row["filled"] for row in rows] == [False, True, False, True]
    assert [row["mask_share"] for row in rows] == pytest.approx([np.pi / 4, np.pi / 8, 0, np.pi / 8], abs=0.01)
    assert {row["class"] for row in rows} == {"gland"}
    assert table.schema.metadata[b"agree"] == b"0.8"


def test_without_a_detector_the_mask_is_the_networks_bit_for_bit(path, tmp_path):
    np.testing.assert_array_equal(segmented(path, tmp_path / "out", model("none")), filled())
    assert not (tmp_path / "out" / "boxes.parquet").exists()


@pytest.mark.parametrize("options", [{"score": 0.95}, {"agree": 0.4}, {"least": 0.5}])
def test_options_keep_boxes_from_filling(path, tmp_path, options):
    np.testing.assert_array_equal(segmented(path, tmp_path / "out", model(**options)), filled())


def test_an_ensemble_is_mended_by_the_detector_of_a_member_at_another_spacing(path, tmp_path):
    parts = tuple(Part(name, tmp_path, weight, name, {}) for name, weight in (("fine", 0.9), ("coarse", 0.1)))
    ensemble = Ensemble(tmp_path, "mean", ("gland",), parts, {"gland": 0.5})
    models = [model("none"), model(spacing=Spacing.um(1.0))]
    models = tuple(replace(each, predict=replace(each.predict, probabilities=True)) for each in models)
    together = OpenEnsemble(ensemble, parts, models, Options((), ObjectOptions(), False, (), None), True)
    together.segment(image(), path, tmp_path / "out")
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), filled(HALF, LONG))
    rows = pq.read_table(tmp_path / "out" / "boxes.parquet").to_pylist()
    assert sorted(row["y_min"] for row in rows if row["filled"]) == [HALF[0] - RADIUS, LONG[0] - RADIUS]
    for part in parts:  # which give their probabilities alone
        assert not (tmp_path / "out/members" / part.name / "boxes.parquet").exists()


def test_outside_the_hull_nothing_is_filled(path, tmp_path):
    coarse = np.zeros((210, 20), bool)
    coarse[:60] = True
    hull = Hull(coarse, Spacing.um(5.0))
    inside = segmented(path, tmp_path / "out", model(), within=Within(hull, "hull"))
    np.testing.assert_array_equal(inside, filled(HALF) & (np.arange(SHAPE[0]) < 600)[:, None])


def test_other_options_are_another_prediction_and_a_table_of_before_goes(path, tmp_path):
    from malpighi.errors import OutputError

    segmented(path, tmp_path / "out", model())
    with pytest.raises(OutputError, match=r"another boxes\.agree"):
        segmented(path, tmp_path / "out", model(agree=0.7))
    segmented(path, tmp_path / "out", model("none"), overwrite=True)
    assert not (tmp_path / "out" / "boxes.parquet").exists()


def test_stopped_while_filling_it_ends_as_if_it_had_not_been(path, tmp_path, monkeypatch):
    """Killed after the first of two boxes that the fills change: half a disc is whole then."""
    write, calls = PredictionStore.write_mask, []

    def killed(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(PredictionStore, "write_mask", killed)
        with pytest.raises(KeyboardInterrupt):
            segmented(path, tmp_path / "out", model())
    again = segmented(path, tmp_path / "out", model())
    np.testing.assert_array_equal(again, filled(HALF, LONG))
    rows = pq.read_table(tmp_path / "out" / "boxes.parquet").to_pylist()
    assert sum(row["filled"] for row in rows) == 2
