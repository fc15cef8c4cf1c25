from pathlib import Path

import pytest

from malpighi.errors import DataError
from malpighi.sampling.hpa import HPA_2018, HPA_2021, read_image_labels, write_image_labels
from malpighi.sampling.layouts import find_cases

FOUR = ("red", "green", "blue", "yellow")


def files(folder: Path, *stems: str, channels=FOUR, suffix=".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        for name in channels:
            (folder / f"{stem}_{name}{suffix}").write_bytes(b"")
    return folder.parent


def table(folder: Path, text: str, name: str = "train.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def by_id(found):
    return {case.id: case for case in found.cases}


def test_the_classes_stand_at_their_numbers():
    assert (len(HPA_2018), len(HPA_2021)) == (28, 19)
    assert (HPA_2021[0], HPA_2021[8], HPA_2021[13], HPA_2021[18]) == (
        "Nucleoplasm", "Intermediate filaments", "Plasma membrane", "Negative"
    )  # fmt: skip
    assert (HPA_2018[23], HPA_2018[25], HPA_2018[27]) == ("Mitochondria", "Cytosol", "Rods & rings")


def test_hpa_2021_is_recognised(tmp_path):
    table(tmp_path, "ID,Label\na,8|5|0\nb,18\nc,14\nd,13|13\n")
    files(tmp_path / "train", "a", "b", "d", "x")
    found = find_cases(tmp_path)
    assert (found.layout, found.classes, len(found)) == ("hpa-2021", HPA_2021, 3)
    case = by_id(found)["a"]
    assert case.image_labels == ("Intermediate filaments", "Nuclear bodies", "Nucleoplasm")
    assert case.image == tmp_path / "train" / "a_{red,green,blue,yellow}.png"
    assert by_id(found)["b"].image_labels == ("Negative",)
    assert by_id(found)["d"].image_labels == ("Plasma membrane",)
    assert any("1 rows of train.csv have no image" in note and "such as c" in note for note in found.notes)
    assert any("1 images are not in train.csv" in note for note in found.notes)


def test_images_that_lack_a_channel_are_said(tmp_path):
    table(tmp_path, "ID,Label\na,0\nb,0\nc,0\n")
    files(tmp_path / "train", "a")
    files(tmp_path / "train", "b", channels=("red", "green"))
    files(tmp_path / "train", "c", channels=("green",))
    found = find_cases(tmp_path)
    assert by_id(found)["b"].image.name == "b_{red,green}.png"
    assert by_id(found)["c"].image.name == "c_green.png"
    assert any("1 images lack a channel, such as b without blue, yellow" in note for note in found.notes)
    assert any("1 images have one channel only, such as c" in note for note in found.notes)


def test_a_table_without_any_image_is_an_error(tmp_path):
    table(tmp_path, "ID,Label\na,8|5|0\nb,18\n")
    with pytest.raises(DataError, match=r"train\.csv: lists 2 images \(a, b, …\), but .*train/ holds none"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,19\n", r"row 2 \(a\): label '19' is unknown; labels are the class numbers 0 to 18"),
        ("a,0\nb,-1\n", r"row 3 \(b\): label '-1' is unknown"),
        ("a,x\n", r"label 'x' is unknown"),
        ("a,\n", r"row 2 \(a\): no label"),
        ("a\n", r"row 2 \(a\): no label"),
        (",3\n", r"row 2: ID is empty"),
        ("a,0\nb,1\na,2\n", r"row 4: id 'a' is already on row 2"),
        ("", "holds no row"),
    ],
)
def test_wrong_rows_are_named(tmp_path, rows, says):
    path = table(tmp_path, "ID,Label\n" + rows)
    with pytest.raises(DataError, match=says):
        read_image_labels(path)


def test_another_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="no table of image labels; its first line names ID,Label or Id,Target"):
        read_image_labels(table(tmp_path, "id,encoding\na,1 2\n"))


def test_tables_beside_folders_of_their_name(tmp_path):
    table(tmp_path, "Id,Target,m_rate\na,25,1_0\nb,25 0,0.5_0.5\nz,4,1_0\n", "one.csv")
    table(tmp_path, "Id,Target,m_rate\na,23,1_0\n", "two.csv")
    files(tmp_path / "one", "a", "b", suffix=".jpg")
    files(tmp_path / "two", "a", suffix=".jpg")
    found = find_cases(tmp_path)
    assert found.layout == "image-labels"
    assert found.classes == ("Nucleoplasm", "Nuclear speckles", "Mitochondria", "Cytosol")
    assert list(by_id(found)) == ["one/a", "one/b", "two/a"]
    assert by_id(found)["one/b"].image_labels == ("Cytosol", "Nucleoplasm")
    assert by_id(found)["one/b"].attributes == {"m_rate": "0.5_0.5"}
    alone = find_cases(tmp_path / "two.csv")
    assert (list(by_id(alone)), alone.classes) == (["a"], ("Mitochondria",))
    assert len(find_cases(tmp_path, where={"m_rate": ["1_0"]})) == 2


def test_classes_that_are_wanted_and_images_that_show_them(tmp_path):
    table(tmp_path, "ID,Label\na,8|0\nb,18\nc,0\n")
    files(tmp_path / "train", "a", "b", "c")
    kept = find_cases(tmp_path, classes=["Negative", "Nucleoplasm"])
    assert kept.classes == ("Negative", "Nucleoplasm")
    assert [case.image_labels for case in kept.cases] == [("Nucleoplasm",), ("Negative",), ("Nucleoplasm",)]
    only = find_cases(tmp_path, where={"class": ["Nucleoplasm"]})
    assert list(by_id(only)) == ["a", "c"]
    with pytest.raises(DataError, match="class 'Nucleolus' is unknown"):
        find_cases(tmp_path, classes=["Nucleolus"])


def test_labels_are_written_as_they_were_read(tmp_path):
    text = "ID,Label\na,8|5|0\nb,18\nc,13|13\n"
    labels = read_image_labels(table(tmp_path, text))
    assert labels == {"a": (8, 5, 0), "b": (18,), "c": (13, 13)}
    assert write_image_labels(tmp_path / "out.csv", labels) == 3
    assert (tmp_path / "out.csv").read_text() == text
    write_image_labels(tmp_path / "old.csv", labels, ("Id", "Target"))
    assert read_image_labels(tmp_path / "old.csv", HPA_2018) == labels


@pytest.mark.real_data
def test_the_published_table_comes_out_byte_by_byte(real, tmp_path):
    path = real / "single_cells" / "train.csv"
    labels = read_image_labels(path)
    assert len(labels) == 21_806
    write_image_labels(tmp_path / "train.csv", labels)
    assert (tmp_path / "train.csv").read_bytes() == path.read_bytes()


@pytest.mark.real_data
def test_real_mosaics(real):
    found = find_cases(real / "cell_mosaics")
    assert (len(found), found.classes) == (31, ("Nucleoplasm", "Mitochondria", "Cytosol"))
    single = [case for case in found.cases if case.attributes["m_rate"] in ("1_0", "0_1")]
    assert all(len(case.image_labels) == 1 for case in single)
