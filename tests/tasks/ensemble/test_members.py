"""Which run held out which image, and which runs are folds of one configuration."""

import json

import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.sampling.layouts import find_cases
from malpighi.tasks.ensemble.members import gather_team
from tasks.ensemble.made import data_of, run_of


@pytest.fixture
def data(tmp_path):
    return data_of(tmp_path)


def test_folds_of_one_recipe_are_one_column_and_each_image_has_the_run_that_did_not_see_it(tmp_path, data):
    runs = [run_of(tmp_path / f"fold{fold}", data, fold) for fold in (0, 1)]
    team = gather_team(runs)
    (column,) = team.columns
    assert column.name == "fold0 + fold1"
    assert set(column.held) == {"s0", "s1", "s2", "s3"}
    for case, member in column.held.items():
        assert case in member.held
        assert case not in next(other for other in column.members if other is not member).held
    assert [case.id for case in team.cases] == ["s0", "s1", "s2", "s3"]
    assert team.remarks == ()
    assert team.classes == ("object",)
    assert "organ" in team.keys


def test_other_recipes_are_other_columns_and_fits_use_what_all_hold_out(tmp_path, data):
    runs = [run_of(tmp_path / f"a{fold}", data, fold) for fold in (0, 1)]
    runs += [run_of(tmp_path / "b0", data, 0, seed=1), run_of(tmp_path / "again" / "a0", data, 0)]
    team = gather_team(runs)
    assert [column.name for column in team.columns] == [f"{tmp_path.name}-a0 + a1", "b0", "again-a0"]
    assert len(team.cases) == 2
    assert "fitted on the 2 that every one holds out" in team.remarks[0]


def test_images_that_every_run_trained_on_are_left_out_with_a_remark(tmp_path, data):
    team = gather_team([run_of(tmp_path / "a0", data, 0)])
    assert len(team.cases) == 2
    assert "2 of 4 images are held out by no run" in team.remarks[0]


def test_a_run_on_all_images_says_nothing_but_may_join(tmp_path, data):
    runs = [run_of(tmp_path / "a0", data, 0), run_of(tmp_path / "a1", data, 1)]
    team = gather_team([*runs, run_of(tmp_path / "all", data, -1)])
    assert [member.name for member in team.columns[0].members] == ["a0", "a1", "all"]
    assert len(team.columns[0].held) == 4
    assert "shares the weight of its folds" in team.remarks[0]
    team = gather_team([*runs, run_of(tmp_path / "other", data, -1, seed=3)])
    assert [column.name for column in team.spare] == ["other"]
    assert "gets the mean weight" in team.remarks[0]
    with pytest.raises(DataError, match="nothing is held out"):
        gather_team([tmp_path / "all"])


def test_a_run_called_as_a_way_to_combine_is_told_from_it(tmp_path, data):
    team = gather_team([run_of(tmp_path / "mean", data, 0), run_of(tmp_path / "b0", data, 0, seed=1)])
    assert [column.name for column in team.columns] == [f"{tmp_path.name}-mean", "b0"]


def test_images_of_other_data_are_not_taken_for_each_other(tmp_path, data):
    other = data_of(tmp_path / "other")  # its images are called alike
    runs = [run_of(tmp_path / "a0", data, 0), run_of(tmp_path / "b0", other, 0, seed=1)]
    with pytest.raises(DataError, match=r"b0: its image s\d is .*other.*trained on the same data"):
        gather_team(runs)
    assert len(gather_team(runs, data).cases) == 2


def test_a_data_set_that_grew_since_is_refused(tmp_path, data):
    run = run_of(tmp_path / "a0", data, 0)
    table = data / "manifest.csv"
    table.write_text(table.read_text().rpartition("images/s3")[0])
    assert len(find_cases(data)) == 3
    with pytest.raises(DataError, match=r"holds 3 labelled images.*there were 4"):
        gather_team([run])


def test_a_data_set_that_was_moved_can_be_pointed_to(tmp_path, data):
    run = run_of(tmp_path / "a0", data, 0)
    data.rename(tmp_path / "moved")
    with pytest.raises(DataError):
        gather_team([run])
    assert len(gather_team([run], tmp_path / "moved").cases) == 2


def test_what_does_not_go_together_is_said(tmp_path, data):
    run, other = run_of(tmp_path / "a0", data, 0), run_of(tmp_path / "b0", data, 0, classes=("object", "tuft"))
    with pytest.raises(DataError, match=r"its classes: object, tuft; of .*a0: object"):
        gather_team([run, other])
    with pytest.raises(RecipeError, match="given twice"):
        gather_team([run, run])
    with pytest.raises(DataError, match="no image is held out by every"):
        gather_team([run, run_of(tmp_path / "c1", data, 1, seed=5)])
    (run / "summary.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        gather_team([run])
    (run / "plan.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match=r"does not say what it was trained on \(plan.json\)"):
        gather_team([run])
