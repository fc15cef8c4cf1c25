"""Bad input through the real commands: one line that names the file and the cure, the right exit code, nothing half-written."""

import json
import shutil
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from system.tiny import SMALLEST, malpighi, picture, refused


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "slide.png"
    Image.fromarray(picture(7)[0]).save(path)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """The same file without its end."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def finished(out: Path) -> list[str]:
    """Predictions below `out` that look finished."""
    return sorted(path.parent.name for path in out.rglob("manifest.json"))


# -- images to segment ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", b"hello", "is no PNG"),
        ("a.tif", b"", "is no TIFF"),
        ("a.svs", b"II*\0" + b"\0" * 60, "a.svs"),
        ("a.ndpi", b"hello", "copy it again"),
        ("a.txt", b"hello", "allowed are .png"),
    ],
)
def test_what_is_no_image(tmp_path, tiny_run, name, content, said):
    (tmp_path / name).write_bytes(content)
    refused(malpighi("segment", tmp_path / name, "-m", tiny_run, "-o", tmp_path / "out"), 3, name, said)
    assert not (tmp_path / "out").exists()


def test_no_such_image_and_a_folder_without_one(tmp_path, tiny_run):
    refused(malpighi("segment", tmp_path / "no.png", "-m", tiny_run, "-o", tmp_path / "out"), 3, "no.png", "check the path")
    (tmp_path / "empty").mkdir()
    refused(malpighi("segment", tmp_path / "empty", "-m", tiny_run, "-o", tmp_path / "out"), 3, "empty: holds no image")


def test_a_truncated_tiff(tmp_path, tiny_run):
    tifffile.imwrite(tmp_path / "a.tif", picture(7)[0], tile=(64, 64), compression="zlib", photometric="rgb")
    answer = malpighi("segment", cut(tmp_path / "a.tif"), "-m", tiny_run, "-o", tmp_path / "out")
    refused(answer, 3, "a.tif", "truncated", "copy it again")


def test_a_truncated_png_is_no_result(tmp_path, tiny_run, image):
    answer = malpighi("segment", cut(image), "-m", tiny_run, "-o", tmp_path / "out")
    refused(answer, 3, "slide.png", "truncated", "copy or export it again")
    assert finished(tmp_path / "out") == []


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    """A TIFF of 2 × 2 tiles, the last of which is zeros in the file."""
    path = tmp_path / "corrupt.tif"
    tifffile.imwrite(path, picture(7, (128, 128))[0], tile=(64, 64), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[0].dataoffsets[3], tif.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def test_one_corrupt_tile_is_left_out_and_named(tmp_path, tiny_run, corrupt):
    words = ("segment", corrupt, "-m", tiny_run, "-o", tmp_path / "out", "--json")
    answer = malpighi(*words)
    assert answer.code == 5
    assert "1 tile" in answer.last
    (damage,) = answer.json["damage"]
    assert "[64:128, 64:128]" in damage
    assert f"corrupt.tif {damage}" in answer.err
    assert json.loads((tmp_path / "out/corrupt/manifest.json").read_text())["damage"] == [damage]
    again = malpighi(*words)  # finished already, and still not whole
    assert (again.code, again.json["damage"]) == (5, [damage])


def test_strict_stops_at_a_corrupt_tile(tmp_path, tiny_run, corrupt):
    answer = malpighi("segment", corrupt, "-m", tiny_run, "-o", tmp_path / "out", "--strict")
    refused(answer, 3, "corrupt.tif", "[64:128, 64:128]", "without --strict")
    assert finished(tmp_path / "out") == []


def test_of_several_images_the_unreadable_is_left_out(tmp_path, tiny_run, image):
    bad = cut(Path(shutil.copy(image, tmp_path / "bad.png")))
    answer = malpighi("segment", bad, image, "-m", tiny_run, "-o", tmp_path / "out", "--json")
    assert answer.code == 5
    assert "1 image" in answer.last
    assert "bad.png: is truncated" in answer.json["failed"][0]
    assert finished(tmp_path / "out") == ["slide"]


def test_a_wrong_image_among_several_stops_before_any_work(tmp_path, tiny_run, image):
    (tmp_path / "text.png").write_text("hello")
    answer = malpighi("segment", image, tmp_path / "text.png", "-m", tiny_run, "-o", tmp_path / "out")
    refused(answer, 3, "text.png")
    assert not (tmp_path / "out").exists()


def test_nan_in_an_image_to_segment(tmp_path, tiny_run):
    values = np.moveaxis(picture(7)[0], -1, 0).astype(np.float32)
    values[1, 90, 100] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", values, photometric="rgb", planarconfig="separate")
    facts = ("-m", tiny_run, "-o", tmp_path / "out")
    answer = malpighi("segment", tmp_path / "nan.tif", *facts)
    refused(answer, 3, "nan.tif")
    assert "NaN" in answer.last or "float32" in answer.last
    assert finished(tmp_path / "out") == []


def test_an_image_of_another_kind(tmp_path, tiny_run):
    Image.fromarray(picture(7)[1]).save(tmp_path / "gray.png")
    answer = malpighi("segment", tmp_path / "gray.png", "-m", tiny_run, "-o", tmp_path / "out")
    refused(answer, 3, "gray.png has 1 channels", "takes 3", "convert")


def test_an_image_of_other_values(tmp_path, tiny_run):
    deep = picture(7)[0].astype(np.uint16) * 257
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    answer = malpighi("segment", tmp_path / "deep.png", "-m", tiny_run, "-o", tmp_path / "out")
    refused(answer, 3, "deep.png holds uint16 values", "trained on uint8", "convert")


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (20, 30), (96, 65)])
def test_images_smaller_than_a_tile(tmp_path, tiny_run, shape):
    Image.fromarray(picture(7)[0][: shape[0], : shape[1]]).save(tmp_path / "a.png")
    answer = malpighi("segment", tmp_path / "a.png", "-m", tiny_run, "-o", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["outputs"] == [str(tmp_path / "out/a")]


def test_alpha_is_put_on_white(tmp_path, tiny_run):
    rgb, mask = picture(7)
    Image.fromarray(np.dstack([rgb, 255 * mask])).save(tmp_path / "a.png")
    assert malpighi("segment", tmp_path / "a.png", "-m", tiny_run, "-o", tmp_path / "out").code == 0


# -- pixel sizes, runs, options ------------------------------------------------------------------------------------------
def test_a_pixel_network_meets_micrometres(tmp_path, tiny_run, image):
    words = ("segment", image, "-m", tiny_run, "-o", tmp_path / "out", "--spacing")
    refused(malpighi(*words, 0.5), 3, "slide.png has 0.5 µm", "--spacing px")
    for wrong in ("abc", "-1", "nan", "0"):
        refused(malpighi(*words, wrong), 2, f"--spacing {wrong}")
    assert malpighi(*words, "px").code == 0


def test_folders_that_are_no_run(tmp_path, tiny_run, image):
    for folder in (tmp_path / "nothing", tmp_path, image):
        refused(malpighi("segment", image, "-m", folder, "-o", tmp_path / "out"), 3, "not a training run", str(folder))


def test_runs_without_usable_weights(tmp_path, tiny_run, image):
    import safetensors.numpy

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    weights = run / "weights.safetensors"
    words = ("segment", image, "-m", run, "-o", tmp_path / "out")
    weights.write_bytes(weights.read_bytes()[:3000])
    refused(malpighi(*words), 3, "weights.safetensors", "again")
    safetensors.numpy.save_file({"a": np.zeros(3)}, weights)
    refused(malpighi(*words), 3, "weights.safetensors", "did not write")
    weights.unlink()
    refused(malpighi(*words), 3, "no weights yet", "malpighi train")
    shutil.copy(tiny_run / "weights.safetensors", weights)
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('"resnet10t"', '"resnet18"'))
    refused(malpighi(*words), 3, "weights.safetensors", "do not fit")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.steps=4", "only predict.*, objects.*, instances.*"),
        ("predict.tiel=64", "did you mean 'predict.tile'"),
        ("predict.tile=banana", "predict.tile"),
        ("predict.tile=100", "multiples of 32; 128 would do"),
        ("predict", "section.key=value"),
        ("predict.thresholds=[0.1,0.2]", "one for each of the 1 classes"),
        ("objects.min_area=-1", "objects.min_area"),
    ],
)
def test_wrong_options_of_segment(tmp_path, tiny_run, image, setting, said):
    refused(malpighi("segment", image, "-m", tiny_run, "-o", tmp_path / "out", "--set", setting), 2, said)
    assert not (tmp_path / "out").exists()


# -- outputs -------------------------------------------------------------------------------------------------------------
def test_another_result_is_never_taken_for_the_one_asked_for(tmp_path, tiny_run, image):
    words = ("segment", image, "-m", tiny_run, "-o", tmp_path / "out")
    assert malpighi(*words).code == 0
    before = (tmp_path / "out/slide/manifest.json").read_bytes()
    assert "is finished" in malpighi(*words).err
    for option, said in (
        (("--set", "predict.thresholds=[0.4]"), "threshold of object"),
        (("--set", "objects.min_area=20"), "objects.min_area"),
        (("--set", "predict.overlap=0.1"), "predict.overlap"),
        (("--probabilities",), "probabilities"),
    ):
        refused(malpighi(*words, *option), 4, f"another {said};", "--overwrite")
    assert (tmp_path / "out/slide/manifest.json").read_bytes() == before
    assert malpighi(*words, "--probabilities", "--overwrite").code == 0
    Image.fromarray(picture(8)[0]).save(image)
    refused(malpighi(*words, "--probabilities"), 4, "another image;")


def test_outputs_that_are_taken(tmp_path, tiny_run, image):
    (tmp_path / "file").write_text("x")
    refused(malpighi("segment", image, "-m", tiny_run, "-o", tmp_path / "file"), 4, "file")
    (tmp_path / "out/slide").mkdir(parents=True)
    (tmp_path / "out/slide/mine.txt").write_text("x")
    refused(malpighi("segment", image, "-m", tiny_run, "-o", tmp_path / "out"), 4, "slide", "choose another output")
    assert (tmp_path / "out/slide/mine.txt").read_text() == "x"


@pytest.fixture
def small_disk(tmp_path: Path):
    """A folder on a disk of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if made.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk(tmp_path, tiny_run, small_disk):
    big = tmp_path / "big.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)).save(big)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200_000))
    words = ("segment", big, "-m", tiny_run, "-o", small_disk / "out", "--probabilities")
    refused(malpighi(*words), 4, "disk is full", "same command again")
    assert finished(small_disk) == []
    refused(malpighi("convert", big, small_disk / "big.zarr"), 4, "big.zarr", "No space left")
    assert not (small_disk / "big.zarr").exists()
    shutil.rmtree(small_disk / "out")
    refused(malpighi("train", tiny_run.parent / "data", "-o", small_disk / "run", *SMALLEST), 4, "disk/run")
    assert not (small_disk / "run/weights.safetensors").exists()


def test_a_read_only_disk(tmp_path, tiny_run, image, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in (
        ("segment", image, "-m", tiny_run, "-o", small_disk / "out"),
        ("train", tiny_run.parent / "data", "-o", small_disk / "out"),
        ("convert", image, small_disk / "out.zarr"),
        ("demo", "-o", small_disk / "out"),
    ):
        refused(malpighi(*words), 4, "disk/out", "Read-only")


# -- data sets -----------------------------------------------------------------------------------------------------------
def train(data: Path, *words: object):
    return malpighi("train", data, "-o", data.parent / "run", *SMALLEST, *words)


def test_data_sets_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(train(tmp_path / "empty"), 3, "empty: the folder is empty", "put images in images/")
    refused(train(tmp_path / "nothing"), 3, "nothing", "check the path")


def test_no_annotation_at_all(data):
    shutil.rmtree(data / "masks")
    refused(train(data), 3, "none of the 3 images has an annotation", "masks/")
    assert malpighi("inspect", data, "--no-report").code == 0


def test_masks_that_are_all_empty(data):
    for path in (data / "masks").iterdir():
        Image.fromarray(np.zeros((96, 128), np.uint8)).save(path)
    refused(train(data), 3, "no annotation holds an object", "malpighi inspect")


def test_masks_that_are_empty_or_full(data):
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(data / "masks/s0.png")
    Image.fromarray(np.ones((96, 128), np.uint8)).save(data / "masks/s1.png")
    assert train(data).code == 0


def test_a_mask_of_another_size(data):
    Image.fromarray(np.zeros((50, 70), np.uint8)).save(data / "masks/s1.png")
    refused(train(data), 3, "masks/s1.png", "50 × 70", "96 × 128", "sizes must be equal")
    answer = malpighi("inspect", data, "--no-report", "--json")
    assert answer.code == 3
    assert "s1.png" in answer.json["broken"][0]


def test_a_mask_of_half_the_size_is_told(data):
    Image.fromarray(picture(1)[1][::2, ::2]).save(data / "masks/s1.png")
    answer = malpighi("inspect", data, "--no-report")
    assert answer.code == 0
    assert "s1: the mask is 48 × 64, the image 96 × 128: each mask pixel stands for 2 of each side" in answer.err


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_damaged_file_in_a_data_set(data, folder):
    cut(data / folder / "s1.png", 0.8)
    refused(train(data), 3, f"{folder}/s1.png", "is truncated", "again")


def test_nan_in_a_data_set(data):
    for number in range(3):
        (data / f"images/s{number}.png").unlink()
        values = picture(number)[0][..., 0].astype(np.float32)
        values[3, 4] = np.nan if number == 1 else 0
        tifffile.imwrite(data / f"images/s{number}.tif", values)
    refused(train(data), 3, "images/s1.tif", "NaN")


@pytest.mark.parametrize(
    ("kind", "said"), [("gray", "number of channels: 3 (2, such as"), ("deep", "value type: uint8 (2, such as")]
)
def test_images_of_several_kinds(data, kind, said):
    rgb = picture(1)[0]
    odd = rgb[..., 0] if kind == "gray" else rgb.astype(np.uint16) * 257
    (data / "images/s1.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(odd)))
    refused(train(data), 3, said, "s1.png", "convert them")


@pytest.mark.parametrize("kind", ["gray", "gray 16", "rgb 16", "rgba", "float"])
def test_images_of_other_kinds_train_and_segment(data, kind):
    for number in range(3):
        rgb = picture(number)[0]
        path = data / f"images/s{number}.png"
        values = {
            "gray": rgb[..., 0],
            "gray 16": rgb[..., 0].astype(np.uint16) * 200,
            "rgb 16": rgb.astype(np.uint16) * 200,
            "rgba": np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
            "float": rgb[..., 0] / np.float32(255),
        }[kind]
        if kind == "float":
            path.unlink()
            path = path.with_suffix(".tif")
            tifffile.imwrite(path, values)
        else:
            path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
    assert train(data).code == 0
    answer = malpighi("segment", path, "-m", data.parent / "run", "-o", data.parent / "out", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["failed"] == []


def test_micrometres_where_no_pixel_size_is_known(data, tmp_path):
    words = ("--set", "data.unit=µm", "--set", "data.spacing=1.0")
    refused(train(data, *words), 3, "the images are in px", "--spacing")
    assert train(data, *words, "--spacing", 1).code == 0
    refused(
        malpighi("segment", data / "images/s0.png", "-m", tmp_path / "run", "-o", tmp_path / "out"), 3, "s0.png", "--spacing"
    )
    rows = "".join(f"images/s{n}.png,masks/s{n}.png,{'' if n else 0.5}\n" for n in range(3))
    (data / "manifest.csv").write_text("image,labels,spacing\n" + rows)
    refused(
        malpighi("train", data, "-o", tmp_path / "other", *SMALLEST), 3, "2 images do not say their pixel size", "--spacing"
    )


def test_one_donor_alone(data):
    rows = "".join(f"images/s{n}.png,masks/s{n}.png,d1\n" for n in range(3))
    (data / "manifest.csv").write_text("image,labels,donor\n" + rows)
    refused(train(data), 3, "all cases are of one group (donor)", "manifest.csv")


def test_a_class_that_cannot_name_a_folder(data):
    rows = "".join(f"images/s{n}.png,masks/s{n}.png,a/b\n" for n in range(3))
    (data / "manifest.csv").write_text("image,labels,class\n" + rows)
    refused(train(data), 3, "class 'a/b'", "rename")


def test_run_folders_that_are_taken(data, tiny_run):
    (data.parent / "run").mkdir()
    (data.parent / "run/mine.txt").write_text("x")
    refused(train(data), 4, "run: is not empty", "choose another -o")
    refused(train(data, "--overwrite"), 4, "run: is not empty")
    refused(malpighi("train", data, "-o", tiny_run, *SMALLEST), 4, "another data", "--overwrite")


def test_duplicate_ids_and_other_slips_of_a_manifest(data):
    table = data / "manifest.csv"
    for text, said in (
        (
            "id,image,labels\na,images/s0.png,masks/s0.png\na,images/s1.png,masks/s1.png\n",
            "line 3: id 'a' is already on line 2",
        ),
        ("image,labels\nimages/s9.png,\n", "line 2: image 'images/s9.png' does not exist"),
        ("image,spacing\nimages/s0.png,foo\n", "spacing 'foo' is not a number"),
        ("picture\nimages/s0.png\n", "column 'image' is missing"),
    ):
        table.write_text(text)
        refused(train(data), 3, "manifest.csv", said)
    table.write_text("image\nimages/s0.png\n", encoding="utf-16")
    refused(train(data), 3, "manifest.csv", "not UTF-8", "save it as CSV UTF-8")


def test_an_unknown_organ_names_the_nearest(data):
    rows = "".join(f"images/s{n}.png,masks/s{n}.png,kidney\n" for n in range(3))
    (data / "manifest.csv").write_text("image,labels,organ\n" + rows)
    refused(train(data, "--only", "organ=kindey"), 3, "no case has organ 'kindey'", "did you mean 'kidney'")
    refused(train(data, "--only", "orgen=kidney"), 3, "organ")
    refused(train(data, "--only", "organ"), 2, "key=value")


# -- recipes -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.stepz=4", "did you mean 'train.steps'"),
        ("train.steps=four", "train.steps: Input should be a valid integer; it is 'four'"),
        ("train.steps=", "train.steps"),
        ("train.steps=0", "must be 1 or more"),
        ("train.batch=0", "must be 1 or more"),
        ("train.loaders=0", "must be 1 or more"),
        ("train.seed=-1", "must be 0 or more"),
        ("train=4", "train is a section"),
        ("train.steps.x=4", "steps is a value, not a section"),
        ("optim.rate=-1", "optim.rate"),
        ("data.folds=1", "data.folds 1"),
        ("data.fold=9", "between -1 and 4"),
        ("data.tile=0", "data.tile 0"),
        ("data.tile=100", "data.tile = 100: this network takes multiples of 32; 128 would do"),
        ("predict.tile=100", "predict.tile = 100"),
        ("model.encoder=resnt18", "did you mean resnet18"),
        ("model.decoder_channels=[16]", "decoder_channels"),
        ("model.architecture=unett", "'unet', 'unet++', 'fpn'"),
    ],
)
def test_wrong_values_of_a_recipe(data, setting, said):
    refused(train(data, "--set", setting), 2, said)
    run = data.parent / "run"
    assert not run.exists() or not any(run.iterdir())


def test_what_was_refused_before_the_first_step_leaves_the_folder_to_the_corrected_command(data):
    refused(train(data, "--set", "data.fold=4"), 3, "data.fold = 4", "one of 0 to 2")
    refused(train(data, "--set", "data.fold=3"), 3, "data.fold = 3")  # and not: the folder holds a run with another recipe


def test_recipe_files_that_are_none(tmp_path, data):
    refused(train(data, "-r", "kidny"), 2, "recipe 'kidny' is not known", "auto")
    refused(train(data, "-r", tmp_path / "no.toml"), 2, "no.toml: no such recipe file")
    for content, said in ((b"[train\n", "not valid TOML"), (b"\xff\xfe", "UTF-8"), (b"[train]\nstepz = 4\n", "train.steps")):
        (tmp_path / "mine.toml").write_bytes(content)
        refused(train(data, "-r", tmp_path / "mine.toml"), 2, "mine.toml", said)


# -- labels --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("runs", "said"),
    [("12280 10", "runs past the end"), ("1 10 5 10", "begins before"), ("1 10 5", "one is missing"), ("0 3", "1 or more")],
)
def test_run_lengths_that_cannot_be(tmp_path, image, runs, said):
    (tmp_path / "t.csv").write_text(f"id,encoding\na,{runs}\n")
    answer = malpighi("convert", tmp_path / "t.csv", tmp_path / "m.png", "--image", image, "--class", "g", "--row", "a")
    refused(answer, 3, "t.csv, row a", said)
    assert not (tmp_path / "m.png").exists()


def outlines(data: Path, *rings: list[list[int]]) -> Path:
    """Slides with GeoJSON beside them, the rings in the first."""
    shutil.rmtree(data / "masks")
    for number in range(3):
        features = [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
            for ring in (rings if number == 0 else [[[10, 10], [40, 10], [40, 40], [10, 10]]])
        ]
        (data / f"images/s{number}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return data / "images"


def test_polygons_that_cross_themselves_or_leave_the_image(data):
    bow, outside = [[10, 10], [60, 60], [60, 10], [10, 60], [10, 10]], [[100, 50], [300, 50], [300, 90], [100, 50]]
    answer = malpighi("inspect", outlines(data, bow, outside), "--no-report")
    assert answer.code == 0
    assert "s0: 1 outlines cross themselves" in answer.err
    assert "s0: 1 outlines leave the image" in answer.err
    assert "clipped" in answer.err
    assert train(data / "images").code == 0


def test_outlines_that_are_no_json(data):
    (outlines(data) / "s1.geojson").write_text("{")
    refused(train(data / "images"), 3, "s1.geojson: not JSON, or truncated", "export it again")


def test_a_conversion_that_fails_leaves_nothing(tmp_path, image):
    refused(malpighi("convert", cut(image), tmp_path / "o.zarr"), 3, "slide.png", "truncated")
    assert not (tmp_path / "o.zarr").exists()


def test_predictions_that_cannot_be_scored(tmp_path, tiny_run, image):
    truth = tiny_run.parent / "data"
    words = ("evaluate", tmp_path / "out", truth)
    refused(malpighi(*words), 3, "out: does not exist", "malpighi segment")
    assert malpighi("segment", truth / "images/s0.png", "-m", tiny_run, "-o", tmp_path / "out").code == 0
    manifest = tmp_path / "out/s0/manifest.json"
    for content in ("{", "{}"):
        manifest.write_text(content)
        refused(malpighi(*words), 3, "s0/manifest.json", "predict again")
    refused(malpighi("evaluate", image, truth), 3, "no prediction is named as an image")
