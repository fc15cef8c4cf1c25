"""Makes the README's turning picture from a mask, or from a prediction beside its truth.

    python docs/turning.py PREDICTION -o docs/vessels.webp                     # coloured by the vessels' radius
    python docs/turning.py PREDICTION --truth TRUTH -o docs/vessels.webp       # right, missed, too much

PREDICTION is a folder that `malpighi segment` wrote, or any mask that malpighi reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from malpighi.annotations.base import Annotation
from malpighi.annotations.open import open_annotation
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.open import open_image
from malpighi.inference.manifest import MANIFEST
from malpighi.reports.projections import animation, surface_points, turn
from malpighi.reports.volume import read_codes, view_spacing
from malpighi.tasks.pictures import mask_of
from malpighi.tasks.prediction import Prediction


def main() -> None:
    """Read the mask on a bounded grid, turn it, write the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prediction", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="µm per voxel, where the mask does not say"
    )
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 520), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--tilt", type=float, default=20.0)
    parser.add_argument("--voxels", type=float, default=2e7, help="of the grid that is drawn; fewer are quicker and coarser")
    parser.add_argument("--quality", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=Path("turning.webp"))
    given = parser.parse_args()
    spacing = Spacing.um(tuple(given.spacing)) if given.spacing else None
    prediction = annotation(given.prediction, spacing)
    masks = {"prediction": mask_of(prediction, 0)}
    if given.truth is not None:
        masks["truth"] = mask_of(open_annotation(given.truth, prediction.space, prediction.classes[:1]), 0)
    at = view_spacing(prediction.space, int(given.voxels), 1 << 20)
    codes = read_codes(masks, Box.of_shape(prediction.space.shape_at(at)), at)
    points = surface_points(codes, at, "radius" if given.truth is None else "code")
    frames = turn(points, given.frames, tuple(given.size), given.tilt)
    given.output.write_bytes(animation(frames, given.output.suffix.lstrip("."), quality=given.quality))
    print(f"{given.output}: {len(frames)} frames, {given.output.stat().st_size / 1e6:.2f} MB")  # noqa: T201


def annotation(path: Path, spacing: Spacing | None) -> Annotation:
    """A prediction folder, or a mask on its own grid."""
    if (path / MANIFEST).is_file():
        return Prediction(path)
    with open_image(path, spacing=spacing, labels=True) as source:
        space = Space.of_shape(source.shape, source.space.spacing)
    return open_annotation(path, space, ("vessel",))


if __name__ == "__main__":
    main()
