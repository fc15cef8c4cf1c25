"""Tables of cells: whole or not there, and as AnnData."""

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from malpighi.errors import DataError, DependencyError, OutputError
from malpighi.objects.cell_table import to_anndata, write_cells_table


def columns(image="a", count=2):
    at = np.arange(count)
    return {
        "image": [image] * count,
        "cell": at + 1,
        "centroid_y": at + 0.5,
        "centroid_x": at + 10.5,
        "area": at + 100.0,
        "border": at == 0,
        "score: Golgi": at / 10,
    }


def test_rows_of_images_follow_one_another(tmp_path):
    path = tmp_path / "cells.parquet"
    assert write_cells_table(path, [columns("a", 2), columns("b", 0), columns("c", 3)]) == 5
    table = pq.read_table(path)
    assert table["image"].to_pylist() == ["a", "a", "c", "c", "c"]
    assert table["area"].to_pylist() == [100, 101, 100, 101, 102]
    assert [p.name for p in tmp_path.iterdir()] == ["cells.parquet"]


def test_no_image_gives_an_empty_table(tmp_path):
    assert write_cells_table(tmp_path / "cells.parquet", []) == 0
    assert len(pq.read_table(tmp_path / "cells.parquet")) == 0


@pytest.mark.parametrize(
    "wrong", [{**columns(), "more": [1, 2]}, {**columns(), "area": [1.0]}, {**columns(), "area": ["x", "y"]}]
)
def test_nothing_is_left_of_a_table_that_does_not_fit(tmp_path, wrong):
    with pytest.raises(DataError):
        write_cells_table(tmp_path / "cells.parquet", [columns(), wrong])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_cells_table(tmp_path / "none" / "cells.parquet", [columns()])


def test_anndata(tmp_path):
    pytest.importorskip("anndata")
    path = tmp_path / "cells.parquet"
    write_cells_table(path, [columns(count=3)])
    made = to_anndata(path)
    assert made.var_names.tolist() == ["area"]
    assert made.X[:, 0].tolist() == [100, 101, 102]
    assert made.obs["score: Golgi"].tolist() == [0, 0.1, 0.2]
    assert made.obs["image"].tolist() == ["a"] * 3
    assert made.obsm["spatial"].tolist() == [[10.5, 0.5], [11.5, 1.5], [12.5, 2.5]]
    made.write_h5ad(tmp_path / "cells.h5ad")


def test_without_anndata(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(DependencyError, match=r"pip install malpighi\[anndata\]"):
        to_anndata(tmp_path / "cells.parquet")


def test_no_table(tmp_path):
    pytest.importorskip("anndata")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="not a Parquet table"):
        to_anndata(tmp_path / "x.parquet")
