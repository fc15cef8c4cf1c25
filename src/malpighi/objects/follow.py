"""Objects from predicted flow: every pixel walks along it, and those that arrive at one place are one object."""

from __future__ import annotations

import numpy as np
from numba import njit

from malpighi.objects.flood import number_in_order

CROWD = 3
"""So many ends in a pixel make it part of a sink; sinks at most `LINK` pixels apart are one."""
LINK = 2
_PAUSE = 8
"""Steps after which a walk that got nowhere ends; most arrive long before the last step."""


@njit(cache=True, nogil=True)
def _walk(flow: np.ndarray, foreground: np.ndarray, pixels: np.ndarray, steps: int, ends: np.ndarray) -> None:
    """Euler steps with bilinear flow, which is 0 outside the foreground; `ends` gets the pixel where each walk stops."""
    height, width = foreground.shape
    for i in range(len(pixels)):
        y, x = float(pixels[i] // width), float(pixels[i] % width)
        old_y, old_x = y, x
        for step in range(1, steps + 1):
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            b, r = y - top, x - left
            dy, dx = 0.0, 0.0
            for k in range(4):
                v, u = top + k // 2, left + k % 2
                if foreground[v, u]:
                    weight = (b if k // 2 else 1 - b) * (r if k % 2 else 1 - r)
                    dy += weight * flow[0, v, u]
                    dx += weight * flow[1, v, u]
            y, x = min(max(y + dy, 0.0), height - 1.0), min(max(x + dx, 0.0), width - 1.0)
            if step % _PAUSE == 0:
                if (y - old_y) ** 2 + (x - old_x) ** 2 < 1.0:
                    break
                old_y, old_x = y, x
        ends[i] = int(y + 0.5) * width + int(x + 0.5)


@njit(cache=True, nogil=True)
def _sinks(count: np.ndarray, crowd: int, link: int, sink: np.ndarray) -> int:
    """Number the groups of crowded pixels of which each is at most `link` pixels from another; returns how many there are."""
    height, width = count.shape
    stack = np.empty(count.size, np.int64)
    found = 0
    for y0 in range(height):
        for x0 in range(width):
            if count[y0, x0] < crowd or sink[y0, x0] > 0:
                continue
            found += 1
            sink[y0, x0] = found
            stack[0], top = y0 * width + x0, 1
            while top > 0:
                top -= 1
                y, x = stack[top] // width, stack[top] % width
                for v in range(max(y - link, 0), min(y + link + 1, height)):
                    for u in range(max(x - link, 0), min(x + link + 1, width)):
                        if count[v, u] >= crowd and sink[v, u] == 0:
                            sink[v, u] = found
                            stack[top] = v * width + u
                            top += 1
    return found


@njit(cache=True, nogil=True)
def _nearest_sink(sink: np.ndarray, y: int, x: int, reach: int) -> int:
    best, nearest = 0, 1 << 30
    for v in range(max(y - reach, 0), min(y + reach + 1, sink.shape[0])):
        for u in range(max(x - reach, 0), min(x + reach + 1, sink.shape[1])):
            away = (v - y) ** 2 + (u - x) ** 2
            if sink[v, u] > 0 and away < nearest:
                best, nearest = sink[v, u], away
    return best


@njit(cache=True, nogil=True)
def _gather(labels: np.ndarray, y0: int, x0: int, piece: np.ndarray, mark: int, stack: np.ndarray) -> int:
    """The 8-connected pixels of one label from a pixel on, into `stack`; returns how many. `piece` gets `mark`."""
    height, width = labels.shape
    piece[y0, x0] = mark
    stack[0], head, tail = y0 * width + x0, 0, 1
    while head < tail:
        y, x = stack[head] // width, stack[head] % width
        head += 1
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if piece[v, u] == 0 and labels[v, u] == labels[y0, x0]:
                    piece[v, u] = mark
                    stack[tail] = v * width + u
                    tail += 1
    return tail


@njit(cache=True, nogil=True)
def _pieces(labels: np.ndarray, foreground: np.ndarray, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the connected pieces of all labels (0 in the foreground is one too); returns their sizes and labels."""
    height, width = labels.shape
    stack = np.empty(labels.size, np.int64)
    size, name = np.zeros(labels.size + 1, np.int64), np.zeros(labels.size + 1, np.int64)
    count = 0
    for y in range(height):
        for x in range(width):
            if foreground[y, x] and piece[y, x] == 0:
                count += 1
                size[count] = _gather(labels, y, x, piece, count, stack)
                name[count] = labels[y, x]
    return size[: count + 1], name[: count + 1]


@njit(cache=True, nogil=True)
def _largest(size: np.ndarray, name: np.ndarray, names: int) -> np.ndarray:
    """Whether a piece is the largest of its label, and the label is not 0."""
    best = np.zeros(names + 1, np.int64)
    for i in range(1, len(size)):
        if name[i] > 0 and (best[name[i]] == 0 or size[i] > size[best[name[i]]]):
            best[name[i]] = i
    main = np.zeros(len(size), np.bool_)
    for i in range(1, names + 1):
        if best[i] > 0:
            main[best[i]] = True
    return main


@njit(cache=True, nogil=True)
def _give_away(piece: np.ndarray, main: np.ndarray) -> None:
    """Pixels of pieces that are no object's largest join the object that reaches them first; a piece that no object touches stays."""
    height, width = piece.shape
    queue = np.empty(piece.size, np.int64)
    tail = 0
    for p in range(piece.size):
        if main[piece[p // width, p % width]]:
            queue[tail] = p
            tail += 1
    head = 0
    while head < tail:
        y, x = queue[head] // width, queue[head] % width
        head += 1
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if piece[v, u] > 0 and not main[piece[v, u]]:
                    piece[v, u] = piece[y, x]
                    queue[tail] = v * width + u
                    tail += 1


@njit(cache=True, nogil=True)
def _by_sink(count: np.ndarray, pixels: np.ndarray, ends: np.ndarray, labels: np.ndarray) -> int:
    """Label pixels by the sink nearest to where they end; 0 where there is none. Returns how many sinks there are."""
    width = count.shape[1]
    for end in ends:
        count[end // width, end % width] += 1
    sink = np.zeros(count.shape, np.int32)
    found = _sinks(count, CROWD, LINK, sink)
    for i in range(len(pixels)):
        labels[pixels[i] // width, pixels[i] % width] = _nearest_sink(sink, ends[i] // width, ends[i] % width, LINK + 1)
    return found


def follow(flow: np.ndarray, foreground: np.ndarray, steps: int) -> np.ndarray:
    """Part the foreground by where its pixels arrive along the flow.

    As Cellpose (Stringer et al. 2021), but for the sinks: crowded pixels that lie close together are one, however many peaks they
    have, so that a flow which is noisy around an object's middle does not break it. An object is connected: pixels that went
    astray join the object around them, and foreground that touches no object is one of its own.

    Args:
        flow: (2, y, x) float, (y, x) components of about unit length.
        foreground: (y, x) bool.
        steps: how far a pixel may walk.

    Returns:
        (y, x) int32, 1 … n in order of each object's first pixel; 0 in the background.
    """
    shape = foreground.shape
    grown = tuple(max(n, 2) for n in shape)  # two pixels a side to interpolate between
    inside, field = np.zeros(grown, bool), np.zeros((2, *grown), np.float32)
    inside[: shape[0], : shape[1]] = foreground
    field[:, : shape[0], : shape[1]] = np.nan_to_num(flow)
    pixels = np.flatnonzero(inside)
    ends = np.empty_like(pixels)
    _walk(field, inside, pixels, steps, ends)
    labels = np.full(grown, -1, np.int32)  # as no pixel of the foreground: 0 is one that ends in no sink
    found = _by_sink(np.zeros(grown, np.int32), pixels, ends, labels)
    piece = np.zeros(grown, np.int32)
    size, name = _pieces(labels, inside, piece)
    _give_away(piece, _largest(size, name, found))
    piece = np.ascontiguousarray(piece[: shape[0], : shape[1]])
    number_in_order(piece, np.arange(len(size)))
    return piece
