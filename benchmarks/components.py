"""Connected components of a vessel tree: time and peak memory of malpighi's, SciPy's and scikit-image's, a process each.

    python benchmarks/components.py ../shared/data/vessel_trees/ccd_2.nii.gz

All label voxels that touch at a face, an edge or a corner (26 neighbours), and count the voxels and the bounding box of each.
malpighi reads the mask block by block, from memory ("array") and as it does after `segment`, from an OME-Zarr ("zarr": the mask
is never whole in memory); the others need it whole. "over the mask" is peak memory above that of the loaded mask (for "zarr":
above that of the imported libraries). Linux only: the kernel counts the peaks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table


def peak_mb(reset: bool = False) -> float:
    """Most resident memory of this process so far, or since the last reset."""
    found = float(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return found


def resident_mb() -> float:
    """Resident memory now."""
    return float(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def by_malpighi(mask: np.ndarray) -> list[int]:
    from malpighi.objects.label import find_components

    return sorted(find_components(lambda box: mask[box.slices], mask.shape).count.tolist())


def by_malpighi_zarr(path: Path) -> list[int]:
    from malpighi.images.cache import tiles
    from malpighi.images.open import open_image
    from malpighi.objects.label import find_components

    tiles.limit = 64 * 2**20
    with open_image(path) as source:
        return sorted(find_components(lambda box: source.read(box)[0], source.shape).count.tolist())


def by_scipy(mask: np.ndarray) -> list[int]:
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    count = ndimage.label(mask, np.ones((3, 3, 3)), output=labels)
    ndimage.find_objects(labels, count)
    return sorted(np.bincount(labels.ravel())[1:].tolist())


def by_skimage(mask: np.ndarray) -> list[int]:
    from skimage.measure import label, regionprops

    return sorted(int(region.area) for region in regionprops(label(mask, connectivity=3)))


RIVALS = {"malpighi, array": by_malpighi, "malpighi, zarr": by_malpighi_zarr, "SciPy": by_scipy, "scikit-image": by_skimage}


def run_one(name: str, path: Path) -> dict[str, object]:
    """In the child: load, label once on a corner so that imports and compilers are done, then measure."""
    function = RIVALS[name]
    small = np.zeros((8, 8, 8), np.uint8)
    small[2:4, 2:4, 2:4] = 1
    if name == "malpighi, zarr":
        given: object = path.with_suffix(".zarr")
        by_malpighi(small)
        import zarr  # noqa: F401
    else:
        function(small)
        given = np.load(path)
    peak_mb(reset=True)
    before, started = resident_mb(), time.perf_counter()
    sizes = function(given)  # type: ignore[operator]
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": peak_mb(), "more": peak_mb() - before, "sizes": sizes}


def write_mask(source: Path, folder: Path) -> Path:
    """The mask as .npy (for those that need it whole) and as .zarr, whose chunks are those of `segment`'s masks."""
    import nibabel

    from malpighi.geometry import Box, Spacing
    from malpighi.images.write import ZarrWriter

    image = nibabel.load(source)
    mask = np.ascontiguousarray((np.asanyarray(image.dataobj) != 0).astype(np.uint8).transpose(2, 1, 0))
    np.save(folder / "mask.npy", mask)
    writer = ZarrWriter(
        folder / "mask.zarr", mask.shape, Spacing.pixels(3), np.uint8, kind="labels", chunk=(32, 64, 64), shard=(32, 256, 256)
    )
    for box in Box.of_shape(mask.shape).split(writer.shard):
        writer.write(box, mask[box.slices])
    writer.finish()
    print(f"{source.name}: {mask.shape} voxels, {mask.size / 1e6:.0f} M, {mask.mean():.2%} set")
    return folder / "mask.npy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mask", type=Path, nargs="?", help="a NIfTI file; anything but 0 is foreground")
    parser.add_argument("--one", choices=RIVALS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(run_one(chosen.one, chosen.mask)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = write_mask(chosen.mask, Path(folder))
        found = {}
        for name in RIVALS:
            command = [sys.executable, __file__, str(path), "--one", name]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(ran.stdout.splitlines()[-1])
    first = found["malpighi, array"]
    table = Table(title="Components with voxel counts and boxes, 26 neighbours")
    for column in ("", "s", "times malpighi", "peak MB", "over the mask, MB", "components", "same sizes"):
        table.add_column(column, justify="left" if not column else "right")
    for name, facts in found.items():
        times = facts["seconds"] / first["seconds"]
        numbers = [f"{facts['seconds']:.1f}", f"{times:.2f}", f"{facts['peak']:,.0f}", f"{facts['more']:,.0f}"]
        table.add_row(name, *numbers, str(len(facts["sizes"])), str(facts["sizes"] == first["sizes"]))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
