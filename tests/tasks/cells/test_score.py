"""Tables of labelled cells scored: squares one can count, in HPA's CSV and in COCO JSON."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from malpighi.annotations.hpa import hpa_row
from malpighi.annotations.hpa_table import Cell, write_hpa
from malpighi.annotations.rle import RunLengths
from malpighi.cli import main
from malpighi.errors import DataError
from malpighi.metrics.instances import Intersections, match
from malpighi.tasks.cells.export import ScoredCells, given_labels, mask_runs, write_cells_coco, write_submission
from malpighi.tasks.cells.labelled_tables import is_cell_table, open_cell_table
from malpighi.tasks.cells.score import evaluate_cells, one_to_one, text_table

LABELS = np.zeros((12, 20), np.int32)
LABELS[1:5, 1:6], LABELS[6:11, 8:16] = 1, 2  # 20 and 40 pixels
CLASSES = ("Golgi", "ER", "Negative")


def table(path, images, classes=CLASSES, **given):
    """`images`: id → (labels, (cell, class) scores)."""
    rows = [ScoredCells(name, labels, np.array(scores, float)) for name, (labels, scores) in images.items()]
    assert write_submission(path, rows, classes, **given) == len(images)
    return path


def truth(folder):
    return table(folder / "truth" / "truth.csv", {"a": (LABELS, [[1, 0, 0], [1, 1, 0]]), "b": (LABELS, [[0, 0, 1], [0, 1, 0]])})


def test_the_truth_scores_1(tmp_path):
    path = truth(tmp_path)
    result = evaluate_cells(path, path)
    assert (result["map"], result["map_all_classes"], result["image_map"]) == (1, 1, 1)
    assert (result["ap50"], result["mean_precision"], result["pq"]) == (1, 1, 1)
    assert (result["images"], result["cells"], result["missing"]) == (2, 4, [])
    row = result["by_class"][0]
    assert row == {
        "class": "Golgi", "ap": 1, "ap_all_classes": 1, "image_ap": 1, "f1": 1, "confidence": 1, "true": 2, "predicted": 2,
    }  # fmt: skip
    json.dumps(result, allow_nan=False)


def test_scores_by_hand(tmp_path):
    # a: cell 2 is Golgi for sure, cell 1 less; b: Golgi was predicted in cell 1, where nobody looked for it
    guess = table(
        tmp_path / "guess.csv", {"a": (LABELS, [[0.4, 0, 0], [0.9, 0.2, 0]]), "b": (LABELS, [[0.6, 0, 0.1], [0, 0, 0]])}
    )
    result = evaluate_cells(guess, truth(tmp_path))
    assert [row["ap"] for row in result["by_class"]] == [1, 0.5, 1]
    assert result["by_class"][0]["ap_all_classes"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert result["map"] == pytest.approx(2.5 / 3)
    assert [row["image_ap"] for row in result["by_class"]] == [1, None, 1]  # ER is in both images
    assert [row["predicted"] for row in result["by_class"]] == [3, 1, 1]


def test_masks_that_are_off(tmp_path):
    moved = np.roll(LABELS, 3, axis=1)  # IoU 2/8 and 5/11
    guess = table(tmp_path / "guess.csv", {"a": (moved, [[1, 0, 0], [1, 1, 0]]), "b": (LABELS, [[0, 0, 1], [0, 1, 0]])})
    result = evaluate_cells(guess, truth(tmp_path))
    assert [row["ap"] for row in result["by_class"]] == [0, 0.25, 1]  # ER: two equally sure, one of them right
    assert result["ap50"] == 0.5
    loose = evaluate_cells(guess, truth(tmp_path), iou=0.4)
    assert loose["by_class"][0]["ap"] == pytest.approx(0.25)  # one of two, and equally sure
    assert loose["iou"] == 0.4


def test_images_without_a_prediction_are_missed(tmp_path):
    said = []
    from malpighi.tasks.talk import Talk

    guess = table(tmp_path / "guess.csv", {"a": (LABELS, [[1, 0, 0], [1, 1, 0]]), "z": (LABELS, [[1, 0, 0], [0, 0, 0]])})
    result = evaluate_cells(guess, truth(tmp_path), talk=Talk(said.append))
    assert result["missing"] == ["b"]
    assert [row["ap"] for row in result["by_class"]] == [1, 0.5, 0]
    assert result["ap50"] == 0.5
    assert "missed" in said[0]
    assert "z" in said[1]


def test_classes_are_matched_by_name(tmp_path):
    guess = table(tmp_path / "guess.csv", {"a": (LABELS, [[0, 1, 0], [1, 1, 0]])}, ("ER", "Golgi", "Negative"))
    assert [row["ap"] for row in evaluate_cells(guess, truth(tmp_path))["by_class"]] == [1, 0.5, 0]


def test_a_side_without_names_takes_the_others_or_hpas(tmp_path):
    images = {"a": (LABELS, [[1, 0, 0], [1, 1, 0]])}
    bare = table(tmp_path / "bare" / "x.csv", images, ())
    assert evaluate_cells(bare, truth(tmp_path))["by_class"][0]["class"] == "Golgi"
    assert evaluate_cells(truth(tmp_path), bare)["by_class"][1]["class"] == "ER"
    assert [row["class"] for row in evaluate_cells(bare, bare)["by_class"]][18] == "Negative"
    assert evaluate_cells(bare, bare, classes=["p", "q"])["by_class"][1]["class"] == "q"


def test_a_folder_of_a_segmentation_is_its_submission(tmp_path):
    table(tmp_path / "out" / "submission.csv", {"a": (LABELS, [[1, 0, 0], [1, 1, 0]])})
    assert is_cell_table(tmp_path / "out")
    assert not is_cell_table(tmp_path)
    assert evaluate_cells(tmp_path / "out", truth(tmp_path))["missing"] == ["b"]


def test_labels_that_were_looked_for_without_a_mask(tmp_path):
    guess = table(tmp_path / "guess.csv", {"a": (LABELS, [[0.1, 0, 0], [0, 0, 0.5]])})
    path = table(tmp_path / "t" / "t.csv", {"a": (LABELS, [[1, 0, 0], [0, 0, 0]]), "b": (LABELS, [[0, 0, 0], [0, 0, 1]])})
    table(tmp_path / "guess.csv", {"a": (LABELS, [[0.1, 0, 0], [0, 0, 0.5]]), "b": (LABELS, [[0, 0, 0], [0, 0, 0.4]])})
    assert evaluate_cells(guess, path)["by_class"][2]["ap"] == 1
    path.write_text(path.read_text().replace("\na,20,12,", "\na,20,12,2 1 -1 "))
    assert evaluate_cells(guess, path)["by_class"][2]["ap"] == 0.5


def test_report_and_text(tmp_path):
    path = truth(tmp_path)
    result = evaluate_cells(path, path, report=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Golgi" in page
    assert "Precision and recall" in page
    text = text_table(result)
    assert text.splitlines()[1].split() == ["Golgi", *["1.000"] * 5, "2", "2"]
    assert "AP50 1.000" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + text.splitlines()[1] + "\n", "row 4: a is already on row 2"),
        (lambda text: text.replace("b,20,12", "b,12,20"), r"row 3 \(b\).*12 × 20 pixels, the truth has 20 × 12"),
        (lambda text: text.replace("12,0 1", "12,7 1"), r"row 2 \(a\), triple 1: class '7'; there are 3"),
        (lambda text: text.replace("12,0 1", "12,0 sure"), "confidence 'sure' is no number"),
        (lambda text: text.replace("12,0 1", "12,0 nan"), "confidence 'nan' is no number"),
        (lambda text: text.replace("12,0 1", "12,0"), "triples of label"),
        (lambda text: text.replace("a,20", "a,wide"), "size 'wide'"),
        (lambda text: text.replace("12,0 1 ", "12,0 1 x"), "mask 1: not base64"),
        (lambda text: text + "c,20\n", "row 4: 2 fields"),
        (lambda text: text.replace("\na,", "\nx,").replace("\nb,", "\ny,"), "share no image"),
    ],
)
def test_bad_tables_are_named(tmp_path, change, words):
    path = truth(tmp_path)
    bad = table(tmp_path / "bad.csv", {"a": (LABELS, [[1, 0, 0], [1, 1, 0]]), "b": (LABELS, [[0, 0, 1], [0, 1, 0]])})
    bad.write_text(change(bad.read_text()))
    with pytest.raises(DataError, match=words):
        evaluate_cells(bad, path)


def test_classes_the_truth_lacks_are_named(tmp_path):
    guess = table(tmp_path / "guess.csv", {"a": (LABELS, [[0, 0], [0, 1]])}, ("Golgi", "Rods"))
    with pytest.raises(DataError, match=r"row 2 \(a\): class 'Rods' is unknown to the truth"):
        evaluate_cells(guess, truth(tmp_path))


def test_what_is_no_table(tmp_path):
    (tmp_path / "x.csv").write_text("ID,Label\na,1\n")
    (tmp_path / "x.geojson").write_text("{}")
    for name in ("x.csv", "x.geojson", "gone.csv"):
        assert not is_cell_table(tmp_path / name)
        with pytest.raises(DataError, match="no table of labelled cells"):
            open_cell_table(tmp_path / name)
    (tmp_path / "classes.json").write_text('["a", "a"]')
    write_hpa(tmp_path / "y.csv", [("a", (2, 2), [])])
    with pytest.raises(DataError, match="each once"):
        open_cell_table(tmp_path / "y.csv")


# -- writing -------------------------------------------------------------------------------------------------------
def test_written_masks_are_the_cells(tmp_path):
    path = table(tmp_path / "s.csv", {"a": (LABELS, [[0.5, 0, 0.25], [0, 0.75, 0]])})
    cells = hpa_row(path, "a").cells
    assert [(c.label, c.confidence) for c in cells] == [(0, 0.5), (2, 0.25), (1, 0.75)]
    for cell, number in zip(cells, (1, 1, 2), strict=True):
        np.testing.assert_array_equal(cell.runs.decode(), number == LABELS)
    assert len(open_cell_table(path).read("a", 3).masks) == 2


def test_an_image_without_cells_has_an_empty_row(tmp_path):
    path = table(tmp_path / "s.csv", {"a": (LABELS * 0, np.zeros((0, 3)))})
    assert path.read_text().splitlines()[1] == "a,20,12,"
    assert evaluate_cells(path, path)["map"] is None


def test_which_labels_are_given():
    scores = np.array([[0.5, 0.0, 0.25], [0.1, 0.75, 0.1]])
    assert given_labels(scores) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert given_labels(scores, least=0.2) == [(0, 0), (0, 2), (1, 1)]
    assert given_labels(scores, most=1) == [(0, 0), (1, 1)]


def test_runs_of_all_cells_at_once():
    labels = np.random.default_rng(0).integers(0, 5, (9, 11)).astype(np.uint16)
    for number, runs in mask_runs(labels).items():
        np.testing.assert_array_equal(runs.decode(), labels == number)
        wanted = RunLengths.encode(labels == number)
        np.testing.assert_array_equal(runs.starts, wanted.starts)
        np.testing.assert_array_equal(runs.stops, wanted.stops)
    assert sorted(mask_runs(labels)) == [1, 2, 3, 4]
    assert mask_runs(np.zeros((0, 3), int)) == {}


def test_what_cannot_be_written(tmp_path):
    one = ScoredCells("a", LABELS, np.ones((3, 2)))
    with pytest.raises(DataError, match="cell 3 has scores but no pixel"):
        write_submission(tmp_path / "s.csv", [one])
    one = ScoredCells("a", LABELS, np.ones((2, 2)))
    with pytest.raises(DataError, match="given twice"):
        write_submission(tmp_path / "s.csv", [one, one])
    assert list(tmp_path.iterdir()) == []


def test_masks_that_overlap_are_matched_once():
    both = Intersections()
    both.add(LABELS, LABELS)
    pairs = both.pairs()
    assert one_to_one(pairs) is pairs
    from malpighi.metrics.instances import Pairs

    twice = Pairs(np.array([9.0, 10, 10]), np.array([10.0]), np.array([0, 1, 2]), np.zeros(3, int), np.array([9.0, 10, 1]))
    kept = one_to_one(twice)
    assert kept.p.tolist() == [1, 2]


def test_a_mask_in_two_rows_of_a_cell_is_counted_once(tmp_path):
    runs = [RunLengths.encode(n == LABELS) for n in (1, 2)]
    near = RunLengths.encode((LABELS == 2) & (np.arange(20) < 15))
    path = tmp_path / "g.csv"
    write_hpa(path, [("a", (12, 20), [Cell(0, 1, runs[0]), Cell(1, 0.9, runs[1]), Cell(1, 0.8, near), Cell(0, 0.7, runs[1])])])
    result = evaluate_cells(path, truth(tmp_path))
    assert result["by_class"][1]["ap"] == 0.5  # one of two images; the second detection comes after all that is found
    assert result["ap50"] == pytest.approx((2 / 3 + 0) / 2)


def test_the_command_scores_tables_of_cells(tmp_path):
    main.register()
    asked = ["evaluate", str(truth(tmp_path)), str(tmp_path / "truth" / "truth.csv")]
    done = CliRunner().invoke(main.app, [*asked, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["map"] == 1
    assert "Golgi" in CliRunner().invoke(main.app, asked).stdout
    assert CliRunner().invoke(main.app, [*asked, "--only", "class=x"]).exit_code != 0


def coco(path, images, classes=CLASSES):
    rows = [ScoredCells(name, labels, np.array(scores, float)) for name, (labels, scores) in images.items()]
    write_cells_coco(path, rows, classes)
    return path


def test_coco_and_hpas_csv_score_alike(tmp_path):
    shown = {"a": (LABELS, [[0.4, 0, 0], [0.9, 0.2, 0]]), "b": (LABELS, [[0.6, 0, 0.1], [0, 0, 0]])}
    real = {"a": (LABELS, [[1, 0, 0], [1, 1, 0]]), "b": (LABELS, [[0, 0, 1], [0, 1, 0]])}
    wanted = evaluate_cells(table(tmp_path / "g.csv", shown), truth(tmp_path))
    files = (coco(tmp_path / "g.json", shown), coco(tmp_path / "t.json", real))
    assert all(map(is_cell_table, files))
    for pair in (files, (tmp_path / "g.csv", files[1]), (files[0], truth(tmp_path))):
        found = evaluate_cells(*pair)
        assert {**found, "seconds": 0} == {**wanted, "seconds": 0}


def test_a_mask_with_several_categories_is_one_cell(tmp_path):
    path = coco(tmp_path / "t.json", {"a.png": (LABELS, [[1, 0, 0], [1, 1, 0]])})
    cells = open_cell_table(path).read("a", 3)
    assert (len(cells.masks), cells.label.tolist(), cells.mask.tolist()) == (2, [0, 0, 1], [0, 1, 1])


def test_other_json_is_no_table(tmp_path):
    (tmp_path / "x.json").write_text('{"type": "FeatureCollection", "features": []}')
    assert not is_cell_table(tmp_path / "x.json")
    with pytest.raises(DataError, match="not a COCO file"):
        open_cell_table(tmp_path / "x.json")


@pytest.mark.real_data
def test_predicted_masks_of_real_cells(real, tmp_path):
    folder = real / "single_cells"
    sides = []
    for side in ("masks_predicted", "masks_reference"):
        labels = cv2.imread(str(folder / side / "1015_E5_5.png"), cv2.IMREAD_UNCHANGED)
        numbers = np.array(sorted(mask_runs(labels)))
        one = ScoredCells("1015_E5_5", labels, np.ones((len(numbers), 1)), numbers)
        sides.append(tmp_path / f"{side}.csv")
        write_submission(sides[-1], [one], ["cell"])
    result = evaluate_cells(*sides)
    both = Intersections()
    both.add(*(cv2.imread(str(folder / s.stem / "1015_E5_5.png"), cv2.IMREAD_UNCHANGED) for s in sides))
    assert result["ap50"] == match(both.pairs(), 0.5).average_precision > 0.9
    assert result["pq"] == pytest.approx(match(both.pairs(), 0.5).pq)
