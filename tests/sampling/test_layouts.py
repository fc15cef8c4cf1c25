import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError
from malpighi.sampling.layouts import LAYOUTS, find_cases


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def by_id(table):
    return {case.id: case for case in table.cases}


def geojson(path: Path, *names: str) -> None:
    features = [
        {"type": "Feature", "geometry": None, "properties": {"classification": {"name": name, "color": [1, 2, 3]}}}
        for name in names
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def test_images_and_masks_are_paired_by_name(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b_mask.png", "masks/zz.png")
    table = find_cases(tmp_path, classes=["gland"])
    assert table.layout == "images+masks"
    assert table.classes == ("gland",)
    assert [(case.id, case.labels[0].path.name, case.labels[0].classes) for case in table.cases] == [
        ("a", "a.png", ("gland",)),
        ("b", "b_mask.png", ("gland",)),
    ]
    assert any("zz.png" in note for note in table.notes)


def test_a_suffix_never_joins_tile_10_to_tile_1(tmp_path):
    touch(tmp_path, "images/tile_1.png", "images/tile_10.png", "labels/tile_10.png", "labels/tile_1_seg.png")
    cases = by_id(find_cases(tmp_path))
    assert cases["tile_1"].labels[0].path.name == "tile_1_seg.png"
    assert cases["tile_10"].labels[0].path.name == "tile_10.png"


def test_ids_are_in_natural_order(tmp_path):
    touch(tmp_path, *(f"images/t{n}.png" for n in (10, 9, 1)), "masks/t1.png")
    table = find_cases(tmp_path)
    assert [case.id for case in table.cases] == ["t1", "t9", "t10"]
    assert len(table.labelled) == 1
    assert len(table.require_labels()) == 1
    assert any("unlabelled" in note and "t9.png" in note for note in table.notes)


def test_of_two_observers_the_first_is_used_and_the_eyes_of_a_person_are_one_group(tmp_path):
    touch(tmp_path, "images/Image_01L.jpg", "images/Image_01R.jpg")
    touch(tmp_path, *(f"masks/Image_01{eye}_{who}HO.png" for eye in "LR" for who in ("1st", "2nd")))
    table = find_cases(tmp_path)
    assert [case.labels[0].path.name for case in table.cases] == ["Image_01L_1stHO.png", "Image_01R_1stHO.png"]
    assert {case.group for case in table.cases} == {"Image_01"}
    assert any("2nd" in note for note in table.notes)


def test_split_folders_fix_the_split(tmp_path):
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "val/images/a.png", "val/masks/a.png")
    table = find_cases(tmp_path)
    assert {case.id: case.split for case in table.cases} == {"train/a": "train", "val/a": "validation"}


def test_slides_take_their_classes_from_the_geojson(tmp_path):
    touch(tmp_path, "s1.svs", "s2.ome.tif", "annotations/x")
    geojson(tmp_path / "s1.geojson", "tuft", "capsule")
    geojson(tmp_path / "annotations" / "s2.geojson", "tuft")
    table = find_cases(tmp_path)
    assert (table.layout, table.classes) == ("slides+outlines", ("capsule", "tuft"))
    assert [case.id for case in table.cases] == ["s1", "s2"]
    assert all(case.labels[0].classes == () for case in table.cases)
    assert find_cases(tmp_path, classes=["tuft"]).classes == ("tuft",)
    with pytest.raises(DataError, match=r"'tft' is unknown.*did you mean 'tuft'"):
        find_cases(tmp_path, classes=["tft"])


def test_imagej_zips_beside_images(tmp_path):
    touch(tmp_path, "C1.jpg", "C2.jpg", "C1_rois.zip")
    table = find_cases(tmp_path, classes=["glomerulus"])
    assert [(case.id, len(case.labels)) for case in table.cases] == [("C1", 1), ("C2", 0)]
    assert table.cases[0].labels[0].classes == ("glomerulus",)


def test_structure_folders_speak_of_their_structure_alone(tmp_path):
    for structure, stain, tile in (("tuft", "pas", "im_7_0"), ("tuft", "he", "im_8_0"), ("capsule", "pas", "im_7_1")):
        touch(tmp_path, f"{structure}/{stain}/images/{tile}.png", f"{structure}/{stain}/masks/{tile}.png")
    table = find_cases(tmp_path)
    case = by_id(table)["capsule/pas/im_7_1"]
    assert table.classes == ("capsule", "tuft")
    assert case.labels[0].classes == ("capsule",)
    assert case.group == by_id(table)["tuft/pas/im_7_0"].group == "7"
    assert case.attributes == {"organ": "kidney", "stain": "PAS"}
    assert table.counts("stain") == {"PAS": 2, "H&E": 1}


def test_only_keeps_values_and_classes(tmp_path):
    for structure, stain in (("tuft", "pas"), ("tuft", "he"), ("capsule", "pas")):
        touch(tmp_path, f"{structure}/{stain}/images/im_1_0.png", f"{structure}/{stain}/masks/im_1_0.png")
    kept = find_cases(tmp_path, where={"class": ["tuft"], "stain": ["pas"]})
    assert ([case.id for case in kept.cases], kept.classes) == (["tuft/pas/im_1_0"], ("tuft",))
    with pytest.raises(DataError, match=r"no case has organ 'kidny'.*'kidney'"):
        find_cases(tmp_path, where={"organ": ["kidny"]})
    with pytest.raises(DataError, match="cases have no 'donr'"):
        find_cases(tmp_path, where={"donr": ["1"]})
    with pytest.raises(DataError, match="no case is left"):
        find_cases(tmp_path, where={"class": ["capsule"], "stain": ["PAS"], "id": ["tuft/he/im_1_0"]})


def test_hubmap_2021_takes_donors_from_the_information_table(tmp_path):
    touch(tmp_path, "train/aaa.tiff", "train/bbb.tiff", "train/aaa-anatomical-structure.json")
    runs = " ".join(f"{i} 1" for i in range(1, 200_000, 7))  # longer than csv's own limit of a field
    (tmp_path / "train.csv").write_text(f"id,encoding\naaa,{runs}\nbbb,3 2\nccc,5 1\n")
    (tmp_path / "HuBMAP-20-dataset_information.csv").write_text(
        "image_file,patient_number,sex\naaa.tiff,63921,Male\nbbb.tiff,63921,Male\n"
    )
    table = find_cases(tmp_path)
    assert (table.layout, table.classes) == ("hubmap-2021", ("glomerulus",))
    assert [(case.id, case.group, case.labels[0].row) for case in table.cases] == [
        ("aaa", "63921", "aaa"),
        ("bbb", "63921", "bbb"),
    ]
    assert table.cases[0].attributes["sex"] == "Male"
    assert any("ccc" in note for note in table.notes)
    assert [case.regions and case.regions.name for case in table.cases] == ["aaa-anatomical-structure.json", None]


def test_hubmap_2022_has_organs_and_pixel_sizes(tmp_path):
    touch(tmp_path, "train_images/10044.tiff", "train_images/62.tiff")
    (tmp_path / "train.csv").write_text(
        "id,organ,data_source,img_height,img_width,pixel_size,tissue_thickness,rle,age,sex\n"
        "10044,prostate,HPA,3000,3000,0.4,4,1 5,37,Male\n62,largeintestine,Hubmap,9,9,0.229,8,1 5,60,Female\n"
    )
    cases = by_id(find_cases(tmp_path))
    assert cases["10044"].spacing == 0.4
    assert cases["62"].value("organ") == "large intestine"
    assert find_cases(tmp_path, spacing=1.5).cases[0].spacing == 1.5


def test_a_competition_table_without_its_images_says_where_they_go(tmp_path):
    (tmp_path / "train.csv").write_text("id,encoding\naaa,1 2\n")
    with pytest.raises(DataError, match=r"train\.csv: lists 1 images \(aaa.*put the competition's TIFFs"):
        find_cases(tmp_path)


def test_one_png_an_object(tmp_path):
    touch(tmp_path, "n1/images/n1.png", "n1/masks/a.png", "n1/masks/b.png", "n2/images/n2.png", "n2/masks/c.png")
    table = find_cases(tmp_path)
    assert table.layout == "objects"
    assert by_id(table)["n1"].labels[0].path == tmp_path / "n1" / "masks"


def test_images_alone_and_a_single_image(tmp_path):
    touch(tmp_path, "TCGA-AB-1234-01Z.svs", "TCGA-AB-1234-02Z.svs", "notes.txt")
    table = find_cases(tmp_path)
    assert table.layout == "images"
    assert {case.group for case in table.cases} == {"TCGA-AB-1234"}
    with pytest.raises(DataError, match="none of the 2 images has an annotation; put masks"):
        table.require_labels()
    one = find_cases(tmp_path / "TCGA-AB-1234-01Z.svs")
    assert ([case.id for case in one.cases], one.layout) == (["TCGA-AB-1234-01Z"], "image")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((), "the folder is empty"),
        (("readme.txt",), "no known layout"),
        (("images/a.png", "images/a.tif", "masks/a.png"), "has the same name; ids must be unique"),
        (("images/x.txt", "masks/a.png"), "masks but no images"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, files, told):
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=told) as error:
        find_cases(tmp_path)
    assert "\n" not in str(error.value)


def test_what_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        find_cases(tmp_path / "nothing")


def test_layouts_have_names_of_their_own():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)


def test_derived_and_old_classifications_are_named(tmp_path):
    from malpighi.sampling.classnames import classes_named_in

    text = '{"a": {"classification": {"names": ["Tumor", "Positive"], "color": [1,2,3]}}, "b": {"classification": "Stroma"},'
    (tmp_path / "x.geojson").write_text(text + ' "c": {"classification": {"name": "d\\u00e9j\\u00e0"}}}')
    assert classes_named_in(tmp_path / "x.geojson") == ("Stroma", "Tumor: Positive", "déjà")
    assert classes_named_in(tmp_path / "x.png") is None


def test_class_names_on_the_border_of_two_chunks_are_found(tmp_path, monkeypatch):
    import malpighi.sampling.classnames as module

    monkeypatch.setattr(module, "_CHUNK", 64)
    monkeypatch.setattr(module, "_OVERLAP", 80)
    names = [f"class {n}" for n in range(9)]
    geojson(tmp_path / "x.geojson", *names)
    assert module.classes_named_in(tmp_path / "x.geojson") == tuple(names)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "layout", "cases", "groups"),
    [
        ("colon_glands", "images+masks", 85, 85),
        ("kidney_structures", "structures", 65, 48),
        ("kidney_dab", "slides+outlines", 3, 3),
        ("nuclei", "images+masks", 506, 506),
        ("nuclei/original_layout", "objects", 23, 23),
        ("retina_vessels", "images+masks", 20, 10),
        ("vessel_volumes", "images+masks", 6, 6),
        ("hubmap_kidney/tiles_reduced16", "images+masks", 6, 6),
        ("kidney_hipct", "images", 2, 2),
    ],
)
def test_real_folders(real, folder, layout, cases, groups):
    table = find_cases(real / folder)
    assert (table.layout, len(table), len(table.counts("group"))) == (layout, cases, groups)
    assert len(table.labelled) in (0, cases)


def test_masks_that_do_not_say_which_class_they_hold(tmp_path):
    touch(tmp_path, "a.svs", "b.svs", "b_mask.png")
    geojson(tmp_path / "a.geojson", "tuft", "capsule")
    with pytest.raises(DataError, match=r"b_mask\.png: nothing says which of the classes"):
        find_cases(tmp_path)


def test_palette(tmp_path):
    """A real image pair through the whole of it, with no class named."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for folder in ("images", "masks"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / folder / "a.png")
    table = find_cases(tmp_path)
    assert table.classes == ("object",)
    assert any("--classes" in note for note in table.notes)


def test_files_of_one_channel_are_one_image(tmp_path):
    touch(tmp_path, *(f"images/{stem}_{name}.png" for stem in "ab" for name in ("green", "red")), "images/b_blue.png")
    touch(tmp_path, "masks/a.png", "masks/b_mask.png")
    table = find_cases(tmp_path)
    assert [(case.id, case.image.name, len(case.labels)) for case in table.cases] == [
        ("a", "a_{red,green}.png", 1),
        ("b", "b_{red,green,blue}.png", 1),
    ]
    assert any("1 images lack a channel, such as a without blue" in note for note in table.notes)


def test_images_called_by_colours_that_have_masks_of_their_own_stay_apart(tmp_path):
    touch(tmp_path, "images/a_green.png", "images/a_red.png", "masks/a_green.png", "masks/a_red.png")
    assert list(by_id(find_cases(tmp_path))) == ["a_green", "a_red"]


def test_files_of_one_channel_alone_are_one_case_an_id(tmp_path):
    touch(tmp_path, *(f"ID{n}_{name}.tif" for n in (10, 9) for name in ("red", "blue")), "ID9_mask.tif")
    table = find_cases(tmp_path)
    assert [(case.id, case.image.name) for case in table.cases] == [
        ("ID9", "ID9_{red,blue}.tif"),
        ("ID10", "ID10_{red,blue}.tif"),
    ]
    assert len(table.labelled) == 1


def test_a_path_with_braces_is_a_case(tmp_path):
    touch(tmp_path, "a_red.png", "a_blue.png", "a_mask.png")
    table = find_cases(tmp_path / "a_{red,blue}.png", classes=["cell"])
    assert (table.layout, table.cases[0].id, len(table.labelled)) == ("image", "a", 1)
    with pytest.raises(DataError, match="no such file"):
        find_cases(tmp_path / "b_{red,blue}.png")
