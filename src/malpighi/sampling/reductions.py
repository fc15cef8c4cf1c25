"""Views: the same case at several spacings, so that one set holds tiles of several scales."""

from __future__ import annotations

from collections.abc import Sequence

from malpighi.geometry import Space, Spacing


def views(
    spaces: Sequence[Space],
    working: Spacing,
    tile: Sequence[int],
    reductions: Sequence[float] = (1.0,),
    across: Sequence[int] = (),
) -> list[tuple[int, Spacing]]:
    """Which cases are drawn from at which spacings.

    Args:
        spaces: of the cases, level 0.
        working: working spacing, in the unit of what comes out.
        tile: side lengths of training tiles.
        reductions: each case is seen at so many times `working`.
        across: instead: each case is seen at the spacing, one on both axes, at which its longer side is k tiles, for each of these k
            (tiles whose sides differ: the spacing at which it is at most k tiles on every axis). Where a small image would be
            finer than its level 0 it is enlarged.

    Returns:
        (case index, spacing): all views of the first case, then of the next.

    Raises:
        SpacingError: `working` is in micrometres and an image is not, or the reverse.
    """
    if not across:
        return [(case, working.times(factor)) for case in range(len(spaces)) for factor in reductions]
    return [(case, _across(space, working, tile, k)) for case, space in enumerate(spaces) for k in across]


def _across(space: Space, working: Spacing, tile: Sequence[int], k: int) -> Spacing:
    ratio = working.over(space.spacing)  # refuses one unit against the other
    sides = [n / r * w for n, r, w in zip(space.shape, ratio, working.values, strict=True)]  # in the unit
    longest = max(side / (k * t) for side, t in zip(sides, tile, strict=True))
    return Spacing((longest,) * space.rank, working.unit)
