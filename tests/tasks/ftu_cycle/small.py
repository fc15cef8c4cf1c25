"""A data set of a few drawn pictures, some of them without masks, and the settings of runs of a few steps."""

from pathlib import Path

from PIL import Image

from system.tiny import SETTINGS, picture

TINY = [*SETTINGS, "cycle.cycles=2", "cycle.gain=-1.0", "data.folds=2"]


def write_data(root: Path, labelled: int = 4, bare: int = 2) -> Path:
    """images/ of `labelled` + `bare` pictures and masks/ of the first of them."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(labelled + bare):
        image, mask = picture(number)
        Image.fromarray(image).save(root / f"images/s{number}.png")
        if number < labelled:
            Image.fromarray(mask).save(root / f"masks/s{number}.png")
    return root
