"""Pictures as HTML that needs no other file: plots as inline SVG in the page's own colours, pixels as data URIs."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from malpighi.errors import DataError
from malpighi.reports.colors import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE = 150_000
"""Bytes above which a PNG goes into a page as WebP: five to ten times smaller, and no eye sees it at quality 90."""


def png(figure: Figure, dpi: int = 180) -> bytes:
    """The figure as PNG with a transparent ground, so that it lies well on light and on dark pages."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, transparent=True)
    return buffer.getvalue()


def picture(image: bytes | Figure | Markup, alt: str = "") -> Markup:
    """HTML of one picture: plots as SVG, figures that hold pixels and PNG, JPEG or WebP bytes as `<img>`, views as they are.

    Raises:
        DataError: the bytes are no picture.
    """
    if isinstance(image, Markup):
        return image
    if isinstance(image, bytes):
        return _img(image, alt)
    if any(axes.images for axes in image.axes):
        return _img(png(image), alt)
    return _svg(image, alt)


def _img(data: bytes, alt: str) -> Markup:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            kind, (width, height) = str(opened.format).lower(), opened.size
            if kind not in ("png", "jpeg", "webp") or len(data) > LARGE:
                buffer = io.BytesIO()
                opened.convert("RGBA").save(buffer, format="webp", quality=90)
                data, kind = buffer.getvalue(), "webp"
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"report picture {alt!r}: {len(data)} bytes that are no PNG, JPEG or WebP ({error})") from error
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Markup('<img src="{}" width="{}" height="{}" alt="{}" style="--ratio:{}">').format(
        source, width, height, alt, round(width / height, 3)
    )


def _svg(figure: Figure, alt: str) -> Markup:
    import matplotlib

    buffer = io.StringIO()
    # text stays text: it takes the page's font, can be searched and read aloud; a fixed salt gives the same bytes every time
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "malpighi"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # names like axes_1 would repeat from plot to plot
    svg = svg.replace(INK, "currentColor")
    return Markup(svg.replace("<svg", str(Markup('<svg role="img" aria-label="{}"').format(alt)), 1))
