"""Peak memory and time of the whole `malpighi segment` (network, masks, objects, outlines, report) by slide size.

    python benchmarks/segment.py RUN SLIDE... -o FOLDER

RUN is a training run, say of `malpighi demo`; slides come from `malpighi.phantoms.SlidePhantom((n, n), period=4096).write(path)`.
Each slide is segmented in a process of its own; its peak resident memory is read from that process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

CODE = "from malpighi.cli.main import run; run()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    print(
        f"{'slide':<20}{'tiles':>8}{'skipped':>9}{'seconds':>9}{'ms/tile':>9}{'objects':>9}{'peak MB':>9}{'× first':>9}",
        flush=True,
    )
    first = None
    for slide in arguments.slides:
        folder = arguments.output / slide.stem
        shutil.rmtree(folder, ignore_errors=True)
        command = [
            sys.executable,
            "-c",
            CODE,
            "segment",
            str(slide),
            "-m",
            str(arguments.run),
            "-o",
            str(arguments.output),
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        result = json.loads(done.stdout.splitlines()[-1])
        first = first or result["peak_memory_mb"]
        objects = sum(result["objects"].values())
        print(
            f"{slide.stem:<20}{result['tiles']:>8}{result['skipped_tiles']:>9}{result['seconds']:>9.1f}"
            f"{1e3 * result['seconds'] / max(1, result['tiles']):>9.1f}{objects:>9}{result['peak_memory_mb']:>9.0f}"
            f"{result['peak_memory_mb'] / first:>9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
