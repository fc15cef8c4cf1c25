"""Tables of cells → AnnData, which scanpy and squidpy read."""

from __future__ import annotations

from pathlib import Path

from malpighi.annotations.files import replacing
from malpighi.errors import DataError
from malpighi.tasks.cells.table import TABLE


def write_anndata(source: Path, target: Path) -> int:
    """Write the cells of `segment` as one .h5ad file, with the name of their image in `obs["image"]`.

    Args:
        source: cells.parquet, the folder of one image, or the folder of all.
        target: .h5ad, replaced only when all is written.

    Returns:
        Number of cells.

    Raises:
        DataError: no table of cells is there.
        DependencyError: anndata is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from malpighi.objects.cell_table import to_anndata

    paths = _tables(source)
    tables = []
    for path in paths:
        table = pq.read_table(path)
        tables.append(table.append_column("image", pa.array([path.resolve().parent.name] * len(table), pa.string())))
    made = to_anndata(pa.concat_tables(tables))
    with replacing(target) as part:
        made.write_h5ad(part)
    return int(made.n_obs)


def _tables(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = [source / TABLE] if (source / TABLE).is_file() else sorted(source.glob(f"*/{TABLE}"))
    if not found:
        raise DataError(f"{source}: holds no {TABLE}; give a folder that `malpighi segment` wrote with a run of cells")
    return found
