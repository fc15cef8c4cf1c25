"""What a run trains on, from files: views, series, what is told, and what is refused."""

import json
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError, RecipeError, SpacingError
from malpighi.recipes.fitting import require_sampling_fits
from malpighi.recipes.load import build, read_raw
from malpighi.sampling.boxes import SamplerOptions, sampler
from malpighi.sampling.cases import Labels
from malpighi.sampling.foreground import find_foreground
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.material import fold_of, gather
from malpighi.tasks.talk import Talk
from system.tiny import write_data

TINY = (
    "data.tile=32",
    "data.unit=px",
    "data.spacing=1.0",
    "data.folds=2",
    "train.batch=4",
    "train.loaders=1",
    "intensity.kind=imagenet",
    "train.steps=4",
    "train.precision=float32",
    "train.channels_last=false",
)


def _recipe(*more):
    return build(read_raw("demo", (*TINY, *more)))


def _gather(table, recipe, said=None):
    talk = Talk(say=said.append) if said is not None else Talk()
    with ExitStack() as stack:
        return gather(table, fold_of(table.cases, recipe), recipe, stack, talk), stack.pop_all()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return find_cases(write_data(tmp_path_factory.mktemp("data"), cases=4))


def test_plain_recipes_draw_as_the_sampler_alone_does(table):
    recipe = _recipe("sampling.kind=balanced")
    material, stack = _gather(table, recipe)
    with stack:
        batches, spacing = material.batches, material.inputs.spacing
        points = [find_foreground(case.annotation, spacing, (32, 32)) for case in material.trained]
        shapes = [case.source.space.shape_at(spacing) for case in material.trained]
        plain = sampler(SamplerOptions(), shapes, (32, 32), recipe.train.seed, points)
        assert [batches.draw(n) for n in range(30)] == [plain(n) for n in range(30)]
        assert material.hard is None
        assert batches.make(0).facts == {}


def test_several_reductions_in_one_set(table):
    recipe = _recipe("data.reductions=[1.0, 2.0]", "sampling.kind=random", "model.tells=['pixel_size']")
    material, stack = _gather(table, recipe)
    with stack:
        batches = material.batches
        assert len(material.trained) == 2
        assert [spacing.values[0] for spacing in batches.spacings] == [1, 2, 1, 2]
        views = np.array([batches.draw(n)[0] for n in range(600)])
        assert np.mean(views % 2) == pytest.approx(0.2, abs=0.06)  # in proportion to area
        facts = replace(batches, augmentation=recipe.augment.__class__(scale=0, rotate=0)).make(0).facts
        np.testing.assert_allclose(facts["pixel_size"], views[:4] % 2, atol=1e-5)


def test_wholes_and_quarters_of_every_image(table):
    recipe = _recipe("data.across=[1, 2]", "sampling.kind=grid", "sampling.shifted=false", "data.context=1.0")
    material, stack = _gather(table, recipe)
    with stack:
        batches = material.batches
        assert [spacing.values[0] for spacing in batches.spacings] == [4, 2, 4, 2]  # 128 / 32, 128 / 64
        boxes = [batches.draw(n) for n in range(10)]
        assert sorted(case for case, _ in boxes) == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3]
        assert batches.make(0).images.shape == (4, 3, 32, 32)
    with pytest.raises(SpacingError, match=r"data\.across \[200\] with data\.tile = 32"):
        _gather(table, _recipe("data.across=[200]"))


@pytest.mark.parametrize("kind", ["area", "until", "grid", "random"])
def test_every_kind_feeds_batches(table, kind):
    recipe = _recipe(f"sampling.kind={kind}", "sampling.foreground=1.0", "sampling.least_std=4.0", "sampling.hard=0.3")
    material, stack = _gather(table, recipe)
    with stack:
        batches = [material.batches.make(n) for n in range(6)]
        held = np.mean([(target == 1).any() for batch in batches for target in batch.targets])
        assert held > (0.85 if kind in ("area", "until") else 0.2)
        assert material.hard is not None


def _with_pseudo(table, group=""):
    case = table.cases[0]
    made = replace(case, id="made", pseudo="cycle-0", group=group or "elsewhere", split="")
    return replace(table, cases=(*table.cases, made))


def test_pseudo_labels_are_a_series_of_their_own(table):
    recipe = _recipe("cycle.share=0.3", "cycle.positive=true", "sampling.kind=random")
    material, stack = _gather(_with_pseudo(table), recipe)
    with stack:
        assert [case.case.pseudo for case in material.trained] == ["", "", "cycle-0"]
        drawn = list(islice(((material.batches.draw(n)) for n in range(600)), 600))
        assert np.mean([case == 2 for case, _ in drawn]) == pytest.approx(0.3, abs=0.06)
        held = [(material.batches.target(case, box) == 1).any() for case, box in drawn if case == 2]
        assert all(held)
        others = [(material.batches.target(case, box) == 1).any() for case, box in drawn if case != 2]
        assert not all(others)


def test_positive_boxes_of_pseudo_labels_without_objects_are_none(table, tmp_path):
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "empty.png")
    table = _with_pseudo(table)
    empty = replace(table.cases[-1], labels=(Labels(tmp_path / "empty.png", table.classes),))
    said = []
    material, stack = _gather(replace(table, cases=(*table.cases[:-1], empty)), _recipe("cycle.positive=true"), said)
    with stack:
        assert {material.batches.draw(n)[0] for n in range(100)} == {0, 1}
    assert any("hold no object" in line for line in said)


def test_pseudo_labels_of_a_held_out_donor_are_left_out_and_told(table):
    recipe = _recipe()
    held = table.cases[fold_of(table.cases, recipe).validation[0]]
    table = replace(table, cases=tuple(replace(case, group=f"donor {case.id}") for case in table.cases))
    said = []
    material, stack = _gather(_with_pseudo(table, f"donor {held.id}"), recipe, said)
    with stack:
        assert all(not case.case.pseudo for case in material.trained)
    assert any(line.startswith("1 pseudo-labelled image of held-out donors left out") for line in said)


def test_attributes_are_those_of_the_images_that_teach(table):
    organs = ["lung", "kidney", "spleen", ""]
    cases = tuple(
        replace(case, attributes={"organ": organ} if organ else {}, split="validation" if organ == "spleen" else "train")
        for case, organ in zip(table.cases, organs, strict=True)
    )
    material, stack = _gather(replace(table, cases=cases), _recipe("model.tells=['organ']", "sampling.kind=random"))
    with stack:
        assert material.inputs.told == {"organ": ("kidney", "lung")}
        numbers = {"lung": 1, "kidney": 0, "": -1}
        batch = material.batches.make(0)
        names = [organs[[c.id for c in cases].index(material.trained[material.batches.draw(n)[0]].case.id)] for n in range(4)]
        assert batch.facts["organ"].tolist() == [numbers[name] for name in names]
    with pytest.raises(RecipeError, match="no image to train on says its 'stain'"):
        _gather(table, _recipe("model.tells=['stain']"))


def test_weights_reach_the_sampler(table):
    cases = tuple(
        replace(case, weight=0.0 if i % 2 else 3.0, split="train" if i < 3 else "validation")
        for i, case in enumerate(table.cases)
    )
    material, stack = _gather(replace(table, cases=cases), _recipe("sampling.kind=random"))
    with stack:
        assert {material.trained[material.batches.draw(n)[0]].case.id for n in range(60)} == {cases[0].id, cases[2].id}
    with pytest.raises(DataError, match="weight 0"):
        _gather(replace(table, cases=tuple(replace(case, weight=0.0) for case in cases)), _recipe("sampling.kind=random"))


def test_stains_are_looked_at_where_the_augmentation_asks(table):
    recipe = _recipe("augment.transfer=1.0", "augment.transfer_by=reinhard", "data.reductions=[1.0, 2.0]")
    material, stack = _gather(table, recipe)
    with stack:
        assert len(material.batches.stains.own) == len(material.batches.cases) == 4
        assert material.batches.make(0).images.dtype == np.uint8
    plain, stack = _gather(table, _recipe())
    with stack:
        assert plain.batches.stains is None


@pytest.mark.parametrize(
    ("task", "rank", "data", "sampling", "told"),
    [
        ("vessels", 3, {"reductions": (1.0, 2.0)}, {}, r"data\.reductions = \[1\.0, 2\.0\]: of images of two axes only"),
        ("vessels", 3, {"across": (2,)}, {}, r"data\.across = \[2\]"),
        ("vessels", 3, {}, {"least_std": 4.0}, r"sampling\.least_std = 4"),
        ("vessels", 3, {}, {"least_saturation": 4.0}, r"sampling\.least_saturation = 4"),
        ("ftu", 2, {"across": (2,), "reductions": (2.0,)}, {}, "leave one of them out"),
        ("instances", 2, {}, {"hard": 0.1}, r"sampling\.hard = 0\.1"),
    ],
)
def test_what_does_nothing_is_refused(task, rank, data, sampling, told):
    options = SimpleNamespace(**{"reductions": (1.0,), "across": (), **data})
    with pytest.raises(RecipeError, match=told):
        require_sampling_fits(task, rank, options, replace(SamplerOptions(), **sampling))
    require_sampling_fits("ftu", 2, SimpleNamespace(reductions=(1.0,), across=(1, 2)), SamplerOptions("area", hard=0.5))
    require_sampling_fits("vessels", 3, SimpleNamespace(reductions=(1.0,), across=()), SamplerOptions("until"))


def test_a_recipe_for_volumes_refuses_them_when_it_is_read():
    with pytest.raises(RecipeError, match=r"data\.across"):
        build(read_raw("demo-vessels", ("data.across=[1]",)))


def test_regions_are_drawn_by_their_weight(table, tmp_path):
    """Boxes of 32 pixels lie in the left half of one image alone, where its outline says cortex."""
    with Image.open(table.cases[0].image) as image:
        width, height = image.size
    half = [[0, 0], [width / 2, 0], [width / 2, height], [0, height], [0, 0]]
    shape = {"type": "Polygon", "coordinates": [half]}
    (tmp_path / "r.geojson").write_text(
        json.dumps({"type": "Feature", "geometry": shape, "properties": {"classification": {"name": "cortex"}}})
    )
    cases = tuple(replace(case, regions=tmp_path / "r.geojson" if i < 2 else None) for i, case in enumerate(table.cases))
    asked = ("sampling.regions=['cortex']", "sampling.region_weights=[1.0]", "data.fold=-1", "sampling.kind=random")
    said = []
    material, stack = _gather(replace(table, cases=cases), _recipe(*asked, "sampling.elsewhere=0.0"), said)
    with stack:
        drawn = [material.batches.draw(n) for n in range(200)]
        assert {case for case, _ in drawn} == {0, 1}
        assert all(box.start[1] + 16 <= width / 2 + 4 for _, box in drawn)
    assert any("2 of 4 images name no file of regions" in line for line in said)
    with pytest.raises(DataError, match=r"no image to train on has a region 'pelvis'; their files name cortex: .* the class"):
        _gather(replace(table, cases=cases), _recipe(*asked, "sampling.regions=['pelvis']"))
    with pytest.raises(DataError, match="none of 4 images says where its regions are"):
        _gather(table, _recipe(*asked))


def test_a_fold_beyond_what_the_donors_make_is_refused(table):
    with pytest.raises(DataError, match=r"data\.fold = 4: 4 donors .* make 4 folds; set data\.fold to one of 0 to 3"):
        fold_of(table.cases, _recipe("data.folds=5", "data.fold=4"))
