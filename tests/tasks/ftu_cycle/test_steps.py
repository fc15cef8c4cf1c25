"""The rules of a cycle, without a network: who may be labelled, what is kept, when it ends, how labels changed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.write import ZarrWriter
from malpighi.recipes.load import build
from malpighi.sampling.cases import Case, CaseTable, Labels
from malpighi.sampling.folds import Fold
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.ftu_cycle.cycle import goes_on
from malpighi.tasks.ftu_cycle.facts import agreement, measure
from malpighi.tasks.ftu_cycle.labels import choose
from malpighi.tasks.ftu_cycle.page import _pictures
from malpighi.tasks.ftu_cycle.work import Network, Work, find_unlabelled, require_cycle
from malpighi.tasks.talk import Talk


def table_of(tmp_path, **cases):
    """id → (group, labelled, split)."""
    made = []
    for name, (group, labelled, split) in cases.items():
        (tmp_path / f"{name}.png").write_bytes(b"")
        labels = (Labels(tmp_path / f"{name}_mask.png", ("tuft",)),) if labelled else ()
        made.append(Case(name, tmp_path / f"{name}.png", labels, group, split=split))
    return CaseTable(tmp_path, tuple(made), ("tuft",), "manifest")


@pytest.fixture
def donors(tmp_path):
    """Donor 1 teaches, donor 2 is held out, donor 3 is kept for testing; of 1, 2 and 4 there are images without labels."""
    return table_of(
        tmp_path,
        a1=("1", True, ""),
        a2=("2", True, ""),
        a3=("3", True, "test"),
        b1=("1", False, ""),
        b2=("2", False, ""),
        b3=("3", False, ""),
        b4=("4", False, ""),
        c4=("4", False, "test"),
    )


def test_no_image_of_a_held_out_donor_is_labelled(donors):
    people = donors.require_labels()
    cases, left = find_unlabelled(donors, (), Fold((0,), (1,)), people)
    assert [case.id for case in cases] == ["b1", "b4"]
    assert "held out" in left["b2"]
    assert "held out" in left["b3"]
    assert "for test" in left["c4"]


def test_an_image_that_people_labelled_under_another_name_is_not_labelled(tmp_path):
    table = table_of(tmp_path, a=("", True, ""), b=("", True, ""), c=("", False, ""))
    again = Case("b-again", table.cases[1].image)  # a second row of the held-out image, without labels
    cases, left = find_unlabelled(replace(table, cases=(*table.cases, again)), (), Fold((0,), (1,)), table.require_labels())
    assert [case.id for case in cases] == ["c"]
    assert left == {"b-again": "people labelled it"}


def test_images_given_beside_the_data_set(donors, tmp_path):
    people, fold = donors.require_labels(), Fold((0,), (1,))
    more = tmp_path / "more"
    more.mkdir()
    for name in ("new", "donor2_x"):
        (more / f"{name}.png").write_bytes(b"")
    (more / "a1.png").symlink_to(tmp_path / "a1.png")  # the same image by another way
    cases, left = find_unlabelled(donors, [more], fold, people, 0.5)
    assert {case.id: (case.group, case.spacing) for case in cases} == {
        "b1": ("1", None), "b4": ("4", None), "new": ("", 0.5), "donor2_x": ("donor2", 0.5),
    }  # fmt: skip
    assert left["a1"] == "people labelled it"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "a1.png").write_bytes(b"another image")
    with pytest.raises(DataError, match="rename"):
        find_unlabelled(donors, [tmp_path / "else"], fold, people)


def test_nothing_to_label_says_why(tmp_path):
    table = table_of(tmp_path, a=("1", True, ""), b=("2", True, ""), c=("2", False, ""))
    with pytest.raises(DataError, match=r"c: others of its group .* --unlabelled"):
        find_unlabelled(table, (), Fold((0,), (1,)), table.require_labels())


def test_it_ends_before_where_held_out_images_do_not_gain():
    assert goes_on([0.5], 0.01)
    assert goes_on([0.5, 0.52], 0.01)
    assert not goes_on([0.5, 0.505], 0.01)
    assert not goes_on([0.5, 0.6, 0.55], 0.0)
    assert goes_on([0.5, 0.1], -1.0)


def image(case, confidence, labelled=1.0, inside=0.1):
    return {"case": case, "confidence": confidence, "labelled": labelled, "objects": {"tuft": inside}}


def test_the_surest_share_is_kept_and_the_others_say_why_not():
    images = [image("a", 0.9), image("b", 0.7), image("c", 0.8), image("d", 0.99, inside=0.0), image("e", 1.0, labelled=0.0)]
    images.append({"case": "broken", "kept": False, "why": "cannot be read"})
    choose(images, 0.5, positive=True)
    assert {one["case"]: one["kept"] for one in images} == {
        "a": True, "b": False, "c": True, "d": False, "e": False, "broken": False,
    }  # fmt: skip
    reasons = {one["case"]: one["why"] for one in images}
    assert reasons["b"] == "not among the surest 50%"
    assert reasons["d"] == "no object was found"
    assert reasons["e"] == "no voxel is sure enough"
    assert reasons["broken"] == "cannot be read"
    choose(images, 1.0, positive=False)  # asked again, as a run that goes on does
    assert [one["case"] for one in images if one["kept"]] == ["a", "b", "c", "d"]


def written(folder, layer, spacing=1.0, threshold=0.5):
    """A prediction of one class, of (y, x) uint8."""
    layer = np.asarray(layer, np.uint8)
    writer = ZarrWriter(
        folder / "probabilities.ome.zarr", layer.shape, Spacing.pixels(2, spacing), np.uint8, channels=("tuft",)
    )
    writer.write(Box.of_shape(layer.shape), layer[None])
    writer.finish()
    told = {"spacing": {"values": [spacing] * 2, "unit": "px"}, "classes": {"tuft": threshold}}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder


def test_what_an_image_is_like(tmp_path):
    found = measure(written(tmp_path, [[0, 51, 102, 255]]), sure=0.75)
    assert found["voxels"] == 4
    assert found["confidence"] == pytest.approx((1 + 0.8 + 0.6 + 1) / 4)
    assert found["labelled"] == 0.75
    assert found["objects"] == {"tuft": 0.25}


def test_what_is_not_sure_enough_to_be_labelled_is_no_object(tmp_path):
    assert measure(written(tmp_path, [[0, 150, 150, 0]]), sure=0.9)["objects"] == {"tuft": 0.0}


@pytest.mark.parametrize(("soft", "mask"), [(True, [0, 0, 1, 1]), (False, [0, 1, 1, 1])])
def test_the_page_shows_labels_as_they_were_learnt_from(tmp_path, soft, mask):
    """Hard labels are cut at the prediction's threshold, .3 here; soft ones are drawn from one half on."""
    Image.fromarray(np.full((1, 4, 3), 200, np.uint8)).save(tmp_path / "a.png")
    written(tmp_path / "labels" / "a", [[51, 102, 153, 255]], threshold=0.3)
    work = replace(work_of(tmp_path, soft=soft), table=CaseTable(tmp_path, (), ("tuft",), ""))
    _, masks = _pictures(work, Case("a", tmp_path / "a.png"), {1: tmp_path / "labels"})
    np.testing.assert_array_equal(masks[1], [[mask]])


def test_agreement_by_hand(tmp_path):
    now = written(tmp_path / "now", [[255, 255, 0, 0], [0, 0, 0, 0]])
    before = written(tmp_path / "before", [[255, 0, 0, 0], [0, 0, 0, 51]])
    found = agreement([(now, before)])
    assert found["images"] == 1
    assert found["dice"] == pytest.approx(2 / 3)
    assert found["difference"] == pytest.approx((1 + 0.2) / 8)
    assert found["changed"] == pytest.approx(1 / 8)
    assert agreement([]) is None
    empty = written(tmp_path / "empty", [[0, 0, 0, 0]])
    assert agreement([(empty, empty)]) == {"images": 1, "dice": None, "difference": 0.0, "changed": 0.0}


def test_agreement_across_spacings_is_read_on_the_grid_of_the_newer(tmp_path):
    now = written(tmp_path / "now", [[255, 255, 0, 0]] * 4)
    before = written(tmp_path / "before", [[255, 0], [255, 0]], spacing=2.0)
    found = agreement([(now, before)])
    assert found["dice"] == 1.0
    assert found["changed"] == 0.0


def work_of(tmp_path, **options):
    recipe = build({"cycle": options})
    return Work(CaseTable(tmp_path, (), (), ""), Fold((), ()), (), recipe, tmp_path, {}, Talk())


def test_who_labels_for_whom(tmp_path):
    work = work_of(tmp_path)
    assert [one.name for one in work.scored(1)] == ["cycle-1"]
    assert [one.name for one in work.teachers(Network(1))] == ["cycle-0"]
    work = work_of(tmp_path, groups="alternate")
    assert [one.name for one in work.scored(2)] == ["cycle-2-1", "cycle-2-2"]
    assert [one.name for one in work.teachers(Network(2, 0))] == ["cycle-1-2"]
    work = work_of(tmp_path, folds=2)
    assert [one.name for one in work.teachers(Network(2))] == ["cycle-1-fold-0", "cycle-1-fold-1"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"task": "instances", "instances": {"kind": "distance"}}, "class masks"),
        ({"data": {"fold": -1}}, "holds no image out"),
        ({"data": {"across": [1, 2]}, "cycle": {"groups": "alternate"}}, "data.across"),
        ({"cycle": {"folds": 3}}, "use at most 1"),
    ],
)
def test_recipes_that_cannot_be_cycled(raw, words, donors):
    with pytest.raises(RecipeError, match=words):
        require_cycle(build(raw), donors, Fold((0,), (1,)))


def test_images_of_a_folder_without_masks_are_found(tmp_path):
    from tasks.ftu_cycle.small import write_data

    table = find_cases(write_data(tmp_path / "data"))
    cases, left = find_unlabelled(table, (), Fold((0, 1), (2, 3)), table.require_labels())
    assert [case.id for case in cases] == ["s4", "s5"]
    assert left == {}
