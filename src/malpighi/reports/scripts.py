"""What a page's views need to run, inside the page: it must open offline, years from now, on a machine without malpighi."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup


def views(blocks: Iterable[tuple[str, Mapping[str, Any]]]) -> set[str]:
    """Kinds of views among a section's blocks: "slices", "mesh"."""
    held = (block.get("image", "") for kind, block in blocks if kind == "figure")
    return {kind for html in held for kind in re.findall(r'data-view="(\w+)"', str(html)[:200])}


def scripts(kinds: set[str]) -> Markup:
    """`<script>` elements for views of these kinds; nothing where a page has none."""
    parts = [f"<script>{_script(kind)}</script>" for kind in sorted(kinds)]
    if "mesh" in kinds:
        parts.insert(0, f'<script type="application/gzip" id="plotly" data-licence="MIT, plotly.js">{_plotly()}</script>')
    return Markup("\n".join(parts))


def _script(kind: str) -> str:
    return files("malpighi.reports").joinpath("templates", f"{kind}.js").read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """plotly.js, packed: 1.9 MB in the page instead of 4.8; browsers unpack gzip by themselves since 2023."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
