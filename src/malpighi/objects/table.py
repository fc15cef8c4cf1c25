"""Objects as a Parquet table, written while they are found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from malpighi.errors import OutputError
from malpighi.geometry import Shape, Spacing
from malpighi.objects.measure import Found, Row

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 10_000
"""Rows a row group; what is held in memory."""


def schema(spacing: Spacing) -> pa.Schema:
    """Columns of the table of objects worked at `spacing`; units are in the names, and in the metadata.

    `*_px`, `*_min`, `*_max` are level-0 pixels (boxes half-open); `area_px2`, `perimeter_px` too where pixel sizes are
    unknown, else `area_um2`, `perimeter_um`; `voxels` counts pixels of the mask; `energy` is the mean of `energies`, low where an
    object is doubtful. `id` is unique within a class; `shape_id` is
    the id of the outline in GeoJSON.
    """
    import pyarrow as pa

    unit = "um" if spacing.physical else "px"
    axes = ("z", "y", "x")[-spacing.rank :]
    fields = [("id", pa.int64()), ("class", pa.string())]
    if spacing.rank == 2:
        fields += [("shape_id", pa.string()), (f"area_{unit}2", pa.float64()), (f"perimeter_{unit}", pa.float64())]
        fields += [("circularity", pa.float64())]
    else:
        fields += [(f"volume_{unit}3", pa.float64())]
    fields += [(f"centroid_{axis}_{u}", pa.float64()) for u in dict.fromkeys(("px", unit)) for axis in axes]
    fields += [(f"{axis}_{end}", pa.int64()) for end in ("min", "max") for axis in axes]
    fields += [
        ("mean_probability", pa.float64()),
        ("energy", pa.float64()),
        ("voxels", pa.int64()),
        ("touches_border", pa.bool_()),
    ]
    about = {
        "malpighi": version("malpighi"),
        "spacing": " ".join(f"{v:g}" for v in spacing.values),
        "spacing_unit": spacing.unit,
        "spacing_axes": " ".join(axes),
    }
    return pa.schema(fields, metadata=about)


class ObjectTable:
    """Writes rows to `path` in groups; the file appears when the block ends without an error, whole or not at all.

    ```
    with ObjectTable(folder / "objects.parquet", spacing) as table:
        write_geojson(folder / "objects.geojson", table.record(find_objects(…)))
    ```
    """

    def __init__(self, path: Path, spacing: Spacing) -> None:
        self.path = Path(path)
        self.rows = 0
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._schema = schema(spacing)
        self._waiting: list[Row] = []

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        try:
            self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error}); choose another folder with -o") from error
        return self

    def add(self, row: Row) -> None:
        """Take one row; names that are not columns are an error of the caller."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= ROWS:
            self._flush()

    def record(self, objects: Iterable[Found]) -> Iterator[Shape]:
        """Write the rows of `objects` as they pass; yields their outlines."""
        for found in objects:
            self.add(found.row)
            if found.shape is not None:
                yield found.shape

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                os.replace(self._part, self.path)
        except OSError as failed:
            raise OutputError(f"{self.path}: cannot be written ({failed}); free space or choose another folder") from failed
        finally:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        try:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        except OSError as failed:
            raise OutputError(f"{self.path}: cannot be written ({failed}); free space or choose another folder") from failed
        self._waiting = []
