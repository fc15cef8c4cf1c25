"""Tables of cells: Parquet, a row a cell, and AnnData of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malpighi.errors import DataError, DependencyError, OutputError

if TYPE_CHECKING:
    import anndata
    import pyarrow as pa

Columns = Mapping[str, np.ndarray | Sequence[Any]]
CENTROID = ("centroid_x", "centroid_y")
PLACE = ("y_min", "x_min", "y_max", "x_max", "y", "x", "id", "cell", "number", "image")
"""Numbers that say which cell it is and where: no features."""


def write_cells_table(path: Path, images: Iterable[Columns]) -> int:
    """Write the cells of images, one after the other; the file appears when all are in it.

    Args:
        path: of the Parquet file.
        images: columns of each image's cells, all of one length; every image has the columns of the first. Without any image the table is
            empty.

    Returns:
        Number of rows.

    Raises:
        DataError: columns that do not fit.
        OutputError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    writer, rows = None, 0
    try:
        for columns in images:
            table = _table(columns, writer.schema if writer else None, path)
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(table)
        if writer is None:
            pq.write_table(pa.table({}), part)
        else:
            writer.close()
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); free space or choose another folder") from error
    finally:
        with suppress(OSError):
            if writer is not None:
                writer.close()
            part.unlink(missing_ok=True)
    return rows


def _table(columns: Columns, schema: pa.Schema | None, path: Path) -> pa.Table:
    import pyarrow as pa

    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise DataError(f"{path}: columns of different lengths ({lengths}); give every cell a value in each")
    if schema is not None and set(columns) != set(schema.names):
        wrong = sorted(set(columns) ^ set(schema.names))
        raise DataError(f"{path}: images have different columns ({', '.join(wrong)}); measure all of them alike")
    try:
        if schema is not None:
            return pa.table(dict(columns), schema=schema)
        return pa.table(dict(columns)).replace_schema_metadata({"malpighi": version("malpighi")})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: a column changes its type between images ({error}); give all of them alike") from error


def to_anndata(table: pa.Table | Path, scores: Sequence[str] = ()) -> anndata.AnnData:
    """A table of cells as AnnData, which scanpy and squidpy read.

    `X` holds the features, float32: every column of numbers but places, numbers of cells, and scores. All others are in `obs`.
    `obsm["spatial"]` holds x and y of the centroids, float64, where the table has them.

    Args:
        table: or the path of its Parquet file.
        scores: columns that are scores of classes, besides those with a colon in their name ("score: Nucleoplasm").

    Raises:
        DependencyError: anndata is not installed.
        DataError: the file is no Parquet table.
    """
    try:
        import anndata
    except ImportError as error:
        raise DependencyError("AnnData tables need the package anndata; install it: pip install malpighi[anndata]") from error
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(table, str | os.PathLike):
        try:
            table = pq.read_table(table)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{table}: not a Parquet table of cells ({error})") from error
    features: list[str] = []
    others: list[str] = []
    for field in table.schema:
        number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        apart = ":" in field.name or field.name in (*scores, *PLACE, *CENTROID)
        (features if number and not apart else others).append(field.name)
    x = np.stack([_floats(table, name) for name in features], axis=1) if features else np.zeros((len(table), 0), np.float32)
    made = anndata.AnnData(X=x.astype(np.float32))
    made.obs_names, made.var_names = [str(i) for i in range(len(table))], features
    for name in others:
        made.obs[name] = table[name].to_pandas().to_numpy()
    if set(CENTROID) <= set(table.column_names):
        made.obsm["spatial"] = np.stack([_floats(table, name) for name in CENTROID], axis=1)
    return made


def _floats(table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, NaN where it holds nothing."""
    return np.array(table[name].to_pandas(), np.float64)
