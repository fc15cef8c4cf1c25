"""A vessel mask turning before the eye: shaded surfaces or maximum intensity, as an animation small enough for a README."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.reports.colors import RGB
from malpighi.reports.volume import COLORS, SILENT

_WARM = np.array([(105, 150, 245), (85, 205, 225), (150, 205, 135), (245, 195, 90), (225, 85, 60)], np.float32)
"""Colours from the thinnest vessel to the thickest."""
_LIGHT = np.array([-0.45, -0.55, -0.70])  # towards the light, (y down, x right, depth away from the eye) by _turned's order
_LIGHT = _LIGHT / np.linalg.norm(_LIGHT)


@dataclass(frozen=True)
class Points:
    """A surface as points.

    Attributes:
        places: (n, 3) float32, (z, y, x) in the unit of the spacing, centred.
        normals: (n, 3) float32, outward, of length 1.
        colors: (n, 3) float32, 0 … 255.
        radius: of the sphere that holds all.
        size: of a point: the largest side of a voxel.
    """

    places: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    radius: float
    size: float


def surface_points(codes: np.ndarray, spacing: Spacing, by: str = "radius") -> Points:
    """The surface of a mask, coloured by the vessels' radius or by what the codes say.

    Args:
        codes: (z, y, x): a mask (0, 1), or codes of `volume.compare`; `volume.read_view` gives them for large volumes.
        spacing: of a voxel.
        by: "radius", or "code": right, missed, too much.

    Raises:
        DataError: the mask is empty, or `by` is neither.
    """
    from scipy.ndimage import binary_erosion, find_objects, gaussian_filter

    inside = (codes > 0) & (codes != SILENT)
    if not inside.any():
        raise DataError("an empty mask has no surface to show")
    if by not in ("radius", "code"):
        raise DataError(f"colour by {by!r}: vessels are coloured by radius or by code")
    part = find_objects(inside.astype(np.uint8))[0]
    inside, codes = np.pad(inside[part], 2), np.pad(codes[part], 2)
    where = inside & ~binary_erosion(inside)
    smooth = gaussian_filter(inside.astype(np.float32), 1.2)
    index = np.nonzero(where)
    gradient = np.stack([_slope(smooth, index, axis) / s for axis, s in enumerate(spacing.values)], axis=1)
    normals = -gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-9)
    places = np.stack(index, axis=1) * np.array(spacing.values)
    # onto the smoothed surface, so that stairs of voxels do not show
    steep = np.maximum(np.linalg.norm(gradient, axis=1), 1e-9)
    places = places + normals * np.clip((smooth[index] - 0.5) / steep, -1, 1)[:, None] * min(spacing.values)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    places = (places - middle).astype(np.float32)
    colors = _radius_colors(inside, spacing)[index] if by == "radius" else np.array(COLORS, np.float32)[codes[index]]
    radius = float(np.linalg.norm(places, axis=1).max())
    return Points(places, normals.astype(np.float32), colors, radius, max(spacing.values))


def _slope(smooth: np.ndarray, index: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
    """Central difference at some voxels only; there is a margin around them."""
    up, down = (tuple(i + step * (a == axis) for a, i in enumerate(index)) for step in (1, -1))
    return (smooth[up] - smooth[down]) / 2


def _radius_colors(inside: np.ndarray, spacing: Spacing) -> np.ndarray:
    """(z, y, x, 3) colours by the radius of the vessel that a voxel belongs to: that of the nearest ridge of the distance."""
    from scipy.ndimage import distance_transform_edt, maximum_filter

    depth = distance_transform_edt(inside, spacing.values).astype(np.float32)
    ridge = inside & (depth >= maximum_filter(depth, 5))  # wider than a bump on the wall of a thick vessel
    nearest = distance_transform_edt(~ridge, spacing.values, return_distances=False, return_indices=True)
    radius = depth[tuple(nearest)]
    low, high = np.percentile(np.log(radius[inside]), (2, 98))
    share = np.clip((np.log(np.maximum(radius, 1e-9)) - low) / max(high - low, 1e-6), 0, 1)
    stops = np.linspace(0, 1, len(_WARM))
    return np.stack([np.interp(share, stops, _WARM[:, i]) for i in range(3)], axis=-1).astype(np.float32)


def turn(
    points: Points, frames: int = 48, size: tuple[int, int] = (480, 480), tilt: float = 20.0, ground: RGB = (12, 13, 18)
) -> list[np.ndarray]:
    """One full turn about the vertical axis.

    Args:
        points: see `surface_points`.
        frames: pictures of the turn.
        size: (height, width) of a picture, pixels.
        tilt: degrees that the axis leans towards the eye.
        ground: background.

    Returns:
        (height, width, 3) uint8 pictures.
    """
    return [draw(points, 360 * i / frames, size, tilt, ground) for i in range(frames)]


def draw(
    points: Points, angle: float, size: tuple[int, int] = (480, 480), tilt: float = 20.0, ground: RGB = (12, 13, 18)
) -> np.ndarray:
    """One picture: nearest points win; lit from the upper left; what is far fades into the ground. See `turn`."""
    twice = 2  # drawn at twice the size and averaged: smooth edges
    height, width = (twice * n for n in size)
    matrix = _rotation(angle, tilt)
    places, normals = points.places @ matrix.T, points.normals @ matrix.T  # (down, right, away)
    upright = max(float(np.abs(points.places @ _rotation(a, tilt).T)[:, 0].max()) for a in (0, 90, 180, 270))
    across = float(np.hypot(points.places[:, 1], points.places[:, 2]).max())
    scale = 0.48 * min(height / (upright + points.size), width / (across + points.size))
    row, column = height / 2 + places[:, 0] * scale, width / 2 + places[:, 1] * scale
    shade = 0.34 + 0.76 * np.clip(normals @ _LIGHT, 0, 1)
    gloss = np.clip(normals @ _half(), 0, 1) ** 24 * 70
    near = (places[:, 2] + points.radius) / (2 * points.radius)  # 0 at the eye, 1 far away
    fade = np.clip(0.6 * near, 0, 0.6)[:, None]
    lit = np.clip(points.colors * shade[:, None] * 1.12 + gloss[:, None], 0, 255)
    lit = lit * (1 - fade) + np.array(ground, np.float32) * fade
    facing = normals[:, 2] < 0.25
    order = np.nonzero(facing)[0][np.argsort(-places[facing, 2])]
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = ground
    reach = max(1, math.ceil(points.size * scale / 2 + 0.5))
    _splat(picture, row[order], column[order], lit[order], reach)
    return np.rint(cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def _splat(picture: np.ndarray, row: np.ndarray, column: np.ndarray, colors: np.ndarray, reach: int) -> None:
    """Discs of `reach` pixels, far ones first; the last one written, the nearest, stays."""
    height, width = picture.shape[:2]
    depth = np.full((height, width), -1, np.int64)
    offsets = [
        (r, c) for r in range(-reach, reach + 1) for c in range(-reach, reach + 1) if r * r + c * c <= reach * reach + 0.5
    ]
    number = np.arange(len(row))
    for r, c in offsets:
        y, x = np.rint(row).astype(int) + r, np.rint(column).astype(int) + c
        good = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        drawn = np.full((height, width), -1, np.int64)
        drawn[y[good], x[good]] = number[good]  # of points on one pixel the last stays
        np.maximum(depth, drawn, out=depth)
    hit = depth >= 0
    picture[hit] = colors[depth[hit]]


def _rotation(angle: float, tilt: float) -> np.ndarray:
    """(z, y, x) → (down, right, away): z runs down, turned about it, then leant towards the eye."""
    a, t = math.radians(angle), math.radians(tilt)
    about = np.array([[1, 0, 0], [0, math.sin(a), math.cos(a)], [0, math.cos(a), -math.sin(a)]])
    lean = np.array([[math.cos(t), 0, -math.sin(t)], [0, 1, 0], [math.sin(t), 0, math.cos(t)]])
    return (lean @ about).astype(np.float32)


def _half() -> np.ndarray:
    """Halfway between light and eye."""
    half = _LIGHT + np.array([0, 0, -1.0])
    return half / np.linalg.norm(half)


def brightest(volume: np.ndarray, spacing: Spacing, angle: float, size: tuple[int, int] = (480, 480)) -> np.ndarray:
    """Maximum intensity along the line of sight of a volume turned about its vertical (z) axis.

    Args:
        volume: (z, y, x) of any real type.
        spacing: of a voxel.
        angle: degrees.
        size: (height, width) of the picture, pixels.

    Returns:
        (height, width) float32, 0 where the line of sight misses the volume.
    """
    depth, height, width = volume.shape
    sz, sy, sx = spacing.values
    across = math.hypot(height * sy, width * sx)
    pixel = max(depth * sz / size[0], across / size[1])
    side = max(1, math.ceil(across / pixel))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # (right, away) of the picture → (x, y) of a slice
    matrix = np.array([[cos, -sin], [sin, cos]]) * pixel
    matrix /= np.array([[sx], [sy]])
    # OpenCV counts from the centres of pixels
    shift = np.array([width - 1, height - 1]) / 2 - matrix @ np.array([side - 1, side - 1]) / 2
    lines = np.empty((depth, side), np.float32)
    for z, plane in enumerate(volume):
        turned = cv2.warpAffine(
            plane.astype(np.float32),
            np.column_stack([matrix, shift]),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        lines[z] = turned.max(axis=0)
    rows = max(1, min(size[0], round(depth * sz / pixel)))
    small = cv2.resize(lines, (min(side, size[1]), rows), interpolation=cv2.INTER_LINEAR)
    out = np.zeros(size, np.float32)
    top, left = (size[0] - small.shape[0]) // 2, (size[1] - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def animation(frames: Sequence[np.ndarray], kind: str = "webp", milliseconds: int = 80, quality: int = 70) -> bytes:
    """Pictures as an endless animation.

    Args:
        frames: (y, x, 3) uint8.
        kind: "webp" or "gif" (256 colours, several times as large).
        milliseconds: a frame.
        quality: of WebP, 0 … 100.

    Raises:
        DataError: another kind.
    """
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    if kind == "webp":
        pictures[0].save(
            buffer, "webp", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, quality=quality, method=4
        )
    elif kind == "gif":
        pictures[0].save(buffer, "gif", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=True)
    else:
        raise DataError(f"animation as {kind!r}: webp or gif")
    return buffer.getvalue()


def write_turning(
    codes: np.ndarray, spacing: Spacing, path: Path, by: str = "radius", frames: int = 48, size: tuple[int, int] = (480, 480)
) -> Path:
    """Write a mask's turn as .webp or .gif; see `surface_points` and `turn`."""
    from malpighi.errors import OutputError

    path = Path(path)
    data = animation(turn(surface_points(codes, spacing, by), frames, size), path.suffix.lstrip("."))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error.strerror}); check space and permission") from error
    return path
