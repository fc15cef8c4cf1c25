import pytest

from malpighi.errors import DataError
from malpighi.sampling.layouts import find_cases


@pytest.fixture
def write(tmp_path):
    for name in ("a.tif", "b.tif", "m/a.png", "m/a2.png", "runs.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    def written(text: str):
        (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return written


def test_every_column(write):
    root = write(
        "\ufeffid,Image,labels,class,donor,organ,spacing,split,row,order\n"
        "one,a.tif,m/a.png;m/a2.png,tuft;capsule+vessel,D1,kidney,0.5,train,,\n"
        "two,b.tif,runs.csv,tuft,D2,kidney,,val,key7,C\n"
    )
    one, two = find_cases(root).cases
    assert [(labels.path.name, labels.classes) for labels in one.labels] == [
        ("a.png", ("tuft",)),
        ("a2.png", ("capsule", "vessel")),
    ]
    assert (one.group, one.spacing, one.split) == ("D1", 0.5, "train")
    assert one.attributes == {"donor": "D1", "organ": "kidney"}
    assert (two.labels[0].row, two.labels[0].order, two.spacing, two.split) == ("key7", "C", None, "validation")
    assert find_cases(root).classes == ("tuft", "capsule", "vessel")
    assert find_cases(root / "manifest.csv").cases == (one, two)


def test_only_the_image_is_needed(write):
    table = find_cases(write("image\na.tif\n"))
    assert [(case.id, case.labels, case.group) for case in table.cases] == [("a", (), "")]
    assert any("own group" in note for note in table.notes)


def test_classes_of_one_file_are_its_values(write):
    table = find_cases(write("image,labels,classes\na.tif,m/a.png,tuft;capsule\n"))
    assert table.cases[0].labels[0].classes == ("tuft", "capsule")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,labels\nx,y\n", "the column 'image' is missing"),
        ("image\n", "holds no row"),
        ("image\na.tif\nc.tif\n", r"line 3: image 'c\.tif' does not exist"),
        ("image,labels\na.tif,m/zz.png\n", "line 2: labels 'm/zz.png' does not exist"),
        ("id,image\nx,a.tif\nx,b.tif\n", "line 3: id 'x' is already on line 2"),
        ("image,spacing\na.tif,fine\n", "line 2: spacing 'fine' is not a number"),
        ("image,spacing\na.tif,-1\n", "line 2: spacing '-1' must be positive"),
        ("image,split\na.tif,trian\n", "line 2: split 'trian' is unknown"),
        ("image,order\na.tif,F\nb.tif,G\n", None),
        ("image,labels,order\na.tif,runs.csv,G\n", "line 2: order 'G' is unknown"),
        ("image,labels,class\na.tif,m/a.png;m/a2.png,x;y;z\n", "line 2: 2 label files but 3 classes"),
        ("image,id\n,x\n", "line 2: image is empty"),
    ],
)
def test_mistakes_name_their_line(write, text, told):
    root = write(text)
    if told is None:
        assert len(find_cases(root)) == 2  # an order without labels says nothing
        return
    with pytest.raises(DataError, match=told) as error:
        find_cases(root)
    assert str(error.value).startswith(str(root / "manifest.csv"))


def test_image_labels_and_paths_with_braces(tmp_path):
    for name in ("red", "green"):
        (tmp_path / f"a_{name}.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    rows = ['"a_{red,green}.png",Golgi apparatus; Cytosol', "b.png,none"]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,image_labels", *rows]))
    table = find_cases(tmp_path)
    assert [(case.id, case.image_labels) for case in table.cases] == [("a", ("Golgi apparatus", "Cytosol")), ("b", ())]
    assert table.classes == ("Golgi apparatus", "Cytosol")
    assert table.cases[0].image == tmp_path / "a_{red,green}.png"


@pytest.mark.parametrize(
    ("cell", "says"),
    [("A;B;A", "line 2: image_labels names 'A' twice"), ("A;none", "line 2: image_labels 'A;none': 'none' stands alone")],
)
def test_image_labels_that_contradict_are_named(tmp_path, cell, says):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text(f"image,image_labels\na.png,{cell}\n")
    with pytest.raises(DataError, match=says):
        find_cases(tmp_path)


def test_an_empty_image_label_says_nothing_and_masks_keep_their_class(tmp_path):
    for name in ("a.png", "b.png", "m.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "manifest.csv").write_text("image,labels,class,image_labels\na.png,m.png,cell,Cytosol\nb.png,,,\n")
    table = find_cases(tmp_path)
    assert table.classes == ("cell", "Cytosol")
    assert [case.image_labels for case in table.cases] == [("Cytosol",), None]


def test_weights_and_labels_that_a_network_made(write):
    root = write(
        "image,labels,weight,pseudo,soft,sure\na.tif,m/a.png,2.5,cycle-0,True,0.9\nb.tif,m/a2.png,,,,\n",
    )
    one, two = find_cases(root).cases
    assert (one.weight, one.pseudo, one.labels[0].soft, one.labels[0].sure) == (2.5, "cycle-0", True, 0.9)
    assert (two.weight, two.pseudo, two.labels[0].soft, two.labels[0].sure) == (1.0, "", False, 0.5)
    assert one.attributes == {}


def test_a_misspelt_column_is_told_of(write):
    notes = find_cases(write("image,label,weights,organ,age,donor\na.tif,m/a.png,2,kidney,60,d1\n")).notes
    assert [note for note in notes if "taken for an attribute" in note] == [
        "column 'label' of manifest.csv is taken for an attribute; if 'labels' was meant, call it so",
        "column 'weights' of manifest.csv is taken for an attribute; if 'weight' was meant, call it so",
    ]


def test_outlines_of_regions_are_no_attribute(write):
    root = write("image,labels,regions\na.tif,m/a.png,m/a2.png\nb.tif,m/a2.png,\n")
    one, two = find_cases(root).cases
    assert (one.regions, two.regions) == (root / "m/a2.png", None)
    assert one.attributes == {}
    with pytest.raises(DataError, match=r"line 2: regions 'no\.geojson' does not exist"):
        find_cases(write("image,regions\na.tif,no.geojson\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,weight\na.tif,-1\n", "line 2: weight -1 must be a number of 0 or more"),
        ("image,weight\na.tif,inf\n", "line 2: weight inf must be"),
        ("image,weight\na.tif,much\n", "line 2: weight 'much' is not a number"),
        ("image,labels,soft\na.tif,m/a.png,maybe\n", "line 2: soft 'maybe' is unknown; use true, false"),
        ("image,labels,sure\na.tif,m/a.png,0.3\n", "line 2: sure 0.3 must be at least 0.5"),
        ("image,pseudo,split\na.tif,run,val\n", "line 2: pseudo 'run': .* never held out"),
    ],
)
def test_wrong_weights_and_pseudo_labels_are_named_by_line(write, text, told):
    with pytest.raises(DataError, match=told):
        find_cases(write(text))
