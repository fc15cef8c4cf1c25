"""Labels of cells from those of their images, on cells one can count by hand."""

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.sampling.pseudo_cells import PseudoCellOptions, PseudoLabels, agreement, pseudo_labels

NAN = float("nan")
CLASSES = ("Golgi", "ER", "Negative")


def labelled(scores, targets, image_of, **given):
    options = PseudoCellOptions(**{k: v for k, v in given.items() if k not in ("cycle", "classes", "negative", "previous")})
    scores, targets = np.array(scores, np.float32), np.array(targets, float)
    return pseudo_labels(
        scores,
        targets,
        np.array(image_of),
        np.zeros(len(scores), bool),
        options,
        cycle=given.get("cycle", 1),
        source="class maps",
        classes=given.get("classes", CLASSES),
        negative=given.get("negative", "Negative"),
        previous=given.get("previous"),
    )


def test_a_cell_gets_its_images_label_where_it_scores():
    found = labelled([[0.8, 0.9, 0.1], [0.3, 0.9, 0.1], [0.05, 0.9, 0.1]], [[1, 0, 0]], [0, 0, 0])
    assert found.label.tolist() == [0, -2, -1]  # ER scores higher, but the image has none
    np.testing.assert_array_equal(found.targets, [[1, 0, 0, 0], [NAN] * 4, [0, 0, 0, 1]])
    assert found.score == pytest.approx([0.8, 0.3, 0.05])
    assert found.reason.tolist() == ["score", "left out", "none"]
    assert found.since.tolist() == [1, 0, 1]
    assert found.counts() == {"Golgi": 1, "ER": 0, "Negative": 0, "none of these": 1}


def test_no_cell_has_a_label_that_its_image_lacks():
    draw = np.random.default_rng(0)
    targets = (draw.random((20, 3)) < 0.4).astype(float)
    image_of = np.sort(draw.integers(0, 20, 300))
    for single in (True, False):
        found = labelled(draw.random((300, 3)), targets, image_of, single=single, none=0.3, threshold=0.4)
        given = found.targets[:, :2] == 1
        assert given.any()
        assert (targets[image_of][:, :2][given] == 1).all()


def test_images_without_a_label_or_with_the_negative_one_are_negative():
    found = labelled([[0.9, 0.9, 0.0]] * 2, [[0, 0, 0], [0, 0, 1]], [0, 1])
    np.testing.assert_array_equal(found.targets, [[0, 0, 1, 0]] * 2)
    assert found.label.tolist() == [2, 2]
    assert found.reason.tolist() == ["negative"] * 2


def test_without_a_negative_class_they_are_none_of_these():
    found = labelled([[0.9, 0.9]], [[0, 0]], [0], classes=("Golgi", "ER"))
    np.testing.assert_array_equal(found.targets, [[0, 0, 1]])
    assert found.label.tolist() == [-1]


def test_cells_of_unlabelled_images_are_left_out():
    found = labelled([[1.0, 1.0, 1.0]], [[NAN] * 3], [0], lone=True)
    assert np.isnan(found.targets).all()
    assert found.reason.tolist() == ["unlabelled"]
    assert np.isnan(found.score[0])
    assert sum(found.counts().values()) == 0


def test_what_is_not_known_of_the_image_is_not_known_of_its_cells():
    found = labelled([[0.8, 0.9, 0.1], [0.0, 0.9, 0.1], [0.1, 0.9, 0.1]], [[1, NAN, 0], [0, NAN, 0]], [0, 0, 1])
    np.testing.assert_array_equal(found.targets, [[1, NAN, 0, 0], [NAN] * 4, [NAN] * 4])


def test_the_likeliest_label_or_all():
    scores, image = [[0.8, 0.9, 0.0], [0.3, 0.9, 0.0]], [[1, 1, 0]]
    np.testing.assert_array_equal(labelled(scores, image, [0, 0]).targets, [[0, 1, 0, 0]] * 2)
    several = labelled(scores, image, [0, 0], single=False)
    np.testing.assert_array_equal(several.targets, [[1, 1, 0, 0], [NAN, 1, 0, 0]])  # .3 is neither there nor not there
    assert several.label.tolist() == [1, 1]


def test_lone_labels_are_of_every_cell():
    scores = [[0.0, 0.0, 0.0], [0.2, 0.1, 0.0]]
    found = labelled(scores, [[1, 0, 0], [1, 1, 0]], [0, 1], lone=True)
    assert found.label.tolist() == [0, -2]
    assert found.reason.tolist() == ["lone", "left out"]


def test_nothing_is_taught_of_none_where_it_is_0():
    assert labelled([[0.0, 0.0, 0.0]], [[1, 0, 0]], [0], none=0.0).label.tolist() == [-2]


def test_the_highest_share_of_a_class():
    found = labelled([[0.6, 0, 0], [0.9, 0, 0], [0.7, 0, 0], [0.2, 0, 0]], [[1, 0, 0]], [0] * 4, most=0.5)
    assert found.label.tolist() == [-2, 0, 0, -2]


def test_written_and_read(tmp_path):
    scores = [[0.8, 0.9, 0.1], [0.3, 0.9, 0.1], [0.05, 0.9, 0.1], [0.5, 0.5, 0.5], [0, 0, 0]]
    found = labelled(scores, [[1, 0, 0], [NAN] * 3, [0, 0, 1]], [0, 0, 0, 1, 2], cycle=2)
    found.write(tmp_path / "pseudo.parquet", ["a", "b", "c"], np.array([1, 2, 3, 1, 1]))
    back = PseudoLabels.read(tmp_path / "pseudo.parquet")
    for name in ("targets", "label", "score", "reason", "since", "border", "image_of"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
    assert (back.classes, back.given, back.threshold, back.cycle, back.source) == (
        CLASSES, (("Golgi",), None, ("Negative",)), 0.5, 2, "class maps",
    )  # fmt: skip
    import pyarrow.parquet as pq

    row = pq.read_table(tmp_path / "pseudo.parquet").to_pylist()[0]
    assert (row["image"], row["cell"], row["label"], row["image_labels"]) == ("a", 1, "Golgi", ["Golgi"])
    assert list(tmp_path.iterdir()) == [tmp_path / "pseudo.parquet"]


def test_no_cells_are_written_and_read(tmp_path):
    labelled(np.zeros((0, 3)), [[1, 0, 0]], np.zeros(0, int)).write(tmp_path / "p.parquet", ["a"], np.zeros(0, int))
    assert PseudoLabels.read(tmp_path / "p.parquet").targets.shape == (0, 4)


def test_another_table_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="not a table of pseudo-labels"):
        PseudoLabels.read(tmp_path / "x.parquet")


def test_agreement_by_hand():
    image = [[1, 1, 0]]
    before = labelled([[0.9, 0, 0], [0.9, 0, 0], [0, 0.9, 0], [0.3, 0, 0]], image, [0] * 4)
    now = labelled([[0.9, 0, 0], [0, 0.9, 0], [0, 0.3, 0], [0.8, 0, 0]], image, [0] * 4, cycle=2, previous=before)
    assert now.label.tolist() == [0, 1, -2, 0]
    assert now.since.tolist() == [1, 2, 0, 2]
    found = agreement(before, now)
    assert (found["same"], found["both"], found["gained"], found["lost"]) == (0.5, 2, 1, 1)
    assert found["by_class"]["Golgi"] == {"same": 0.5, "both": 1, "gained": 1, "lost": 1}
    assert found["by_class"]["ER"] == {"same": 0.0, "both": 0, "gained": 1, "lost": 1}
    assert found["by_class"]["Negative"]["same"] is None


def test_cycles_of_other_cells_are_not_compared():
    one = labelled([[0.9, 0, 0]], [[1, 0, 0]], [0])
    with pytest.raises(DataError, match="1 cells against 2"):
        agreement(one, labelled([[0.9, 0, 0]] * 2, [[1, 0, 0]], [0, 0]))


@pytest.mark.parametrize(
    ("scores", "image_of", "words"),
    [([[0.5, 0.5]], [0], "classes they are"), ([[2.0, 0, 0]], [0], "probabilities"), ([[0.5, 0, 0]], [3], "there are 1")],
)
def test_bad_input_is_named(scores, image_of, words):
    with pytest.raises(DataError, match=words):
        labelled(scores, [[1, 0, 0]], image_of)
