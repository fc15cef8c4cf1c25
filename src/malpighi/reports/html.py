"""Report: one self-contained HTML page, built block by block."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import version
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from malpighi.errors import OutputError
from malpighi.reports.embed import picture
from malpighi.reports.scripts import scripts, views
from malpighi.reports.words import value_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


@dataclass
class Section:
    """A heading and what stands under it; `blocks` are (kind, values) that the template knows how to draw."""

    title: str
    intro: str
    anchor: str
    blocks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Report:
    """A page in the making. Calls append; what comes before the first `section` stands at the top of the page.

    Example:
        report = Report("glas-fold0", "colon glands, 17 held-out images")
        report.facts({"Dice": 0.91, "time": "12 min"})   # before any section: the summary strip
        report.section("Scores").table(rows)
        report.write(run / "report.html")
    """

    def __init__(self, title: str, subtitle: str = "", kind: str = "report") -> None:
        self.title, self.subtitle, self.kind = title, subtitle, kind
        self.sections = [Section("", "", "top")]

    def section(self, title: str, intro: str = "") -> Report:
        """Start a section; it enters the table of contents."""
        taken = {section.anchor for section in self.sections}
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor = next(name for name in [stem, *(f"{stem}-{n}" for n in range(2, 1000))] if name not in taken)
        self.sections.append(Section(title, intro, anchor))
        return self

    def text(self, text: str) -> Report:
        """A paragraph."""
        return self._add("text", text=text)

    def code(self, text: str, fold: str = "") -> Report:
        """Commands or a file, verbatim; closed behind the line `fold` where that is given."""
        return self._add("code", text=text, fold=fold)

    def warning(self, text: str) -> Report:
        """A sentence that must not be overlooked."""
        return self._add("warning", text=text)

    def facts(self, values: Mapping[str, Any], fold: str = "") -> Report:
        """Names and values: the summary strip at the top of the page, a plain list in a section.

        Args:
            values: name → value; None is shown as a dash.
            fold: where given, the list is closed behind this line until the reader opens it.
        """
        if not values:
            return self
        return self._add("facts", facts=[(name, value_text(value)) for name, value in values.items()], fold=fold)

    def table(
        self,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        columns: Sequence[str] | None = None,
        caption: str = "",
        colors: Mapping[str, tuple[int, int, int]] | None = None,
        fold: str = "",
    ) -> Report:
        """A table.

        Args:
            rows: mappings from column to value (absent: a dash), or sequences in the order of `columns`.
            columns: headings; of mappings, default all keys in the order met.
            caption: a line above.
            colors: text of the first column → (r, g, b); drawn as a small swatch beside it.
            fold: where given, the table is closed behind this line until the reader opens it.
        """
        held = list(rows)
        if columns is None:
            columns = list(dict.fromkeys(key for row in held if isinstance(row, Mapping) for key in row))
        values = [[row.get(c) for c in columns] if isinstance(row, Mapping) else list(row) for row in held]
        number = [_numeric(row[i] if i < len(row) else None for row in values) for i in range(len(columns))]
        cells = [[value_text(value) for value in row] for row in values]
        return self._add(
            "table", columns=list(columns), cells=cells, number=number, caption=caption, colors=colors or {}, fold=fold
        )

    def figure(self, image: bytes | Figure | Markup, caption: str = "") -> Report:
        """A picture over the whole width: PNG, JPEG or WebP bytes, a matplotlib Figure, or a view (`slice_browser`, `mesh_view`)."""
        return self._add("figure", image=picture(image, caption), caption=caption)

    def figures(self, images: Mapping[str, bytes | Figure]) -> Report:
        """Small pictures side by side, caption → picture; one below another on a narrow screen."""
        return self._add("figures", images=[(caption, picture(image, caption)) for caption, image in images.items()])

    def html(self) -> str:
        """The whole page."""
        top, *sections = self.sections
        made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
        kinds = {kind for section in self.sections for kind in views(section.blocks)}
        return (
            _environment()
            .get_template("report.html.j2")
            .render(report=self, top=top, sections=sections, made=made, version=version("malpighi"), scripts=scripts(kinds))
        )

    def write(self, path: Path | str) -> Path:
        """Write the page; a reader never finds half of one.

        Raises:
            OutputError: the file cannot be written.
        """
        path = Path(path)
        page = self.html()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as file:
                try:
                    file.write(page)
                    file.close()
                    os.chmod(file.name, 0o644)  # temporary files are private, a report is for others to read
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise OutputError(f"{path}: the report cannot be written ({error.strerror}); check space and permission") from error
        return path

    def _add(self, kind: str, **values: Any) -> Report:
        self.sections[-1].blocks.append((kind, values))
        return self


def _numeric(column: Iterable[Any]) -> bool:
    """Whether a column holds numbers, or text of numbers (intervals, shares), and so is set flush right."""
    held = [value for value in column if value is not None]
    return bool(held) and all(
        (isinstance(v, Number) and not isinstance(v, bool)) or (isinstance(v, str) and re.fullmatch(r"[-−–\d.,\s%]+", v))
        for v in held
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    # autoescape: file and class names are other people's text
    environment = Environment(
        loader=PackageLoader("malpighi.reports", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["prose"] = _prose
    return environment


def _prose(text: str) -> Markup:
    """Escaped text; what stands between backticks is set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
