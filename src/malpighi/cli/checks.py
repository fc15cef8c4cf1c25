"""What `malpighi doctor` looks at: each check answers with what it found and, where something is wrong, the cure."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

State = Literal["ok", "warn", "fail"]

ESSENTIAL = ("torch", "timm", "segmentation-models-pytorch", "lightning-fabric", "numpy", "scipy", "zarr", "tifffile",
             "imagecodecs", "openslide-python", "opencv-python-headless", "shapely", "pyarrow", "pillow", "matplotlib")  # fmt: skip
OPTIONAL = {"zarrs": "faster Zarr codecs", "openvino": "fast inference on CPUs", "onnxruntime": "fast inference on CPUs"}
GB = 1024**3


@dataclass(frozen=True)
class Check:
    """One answer: `cure` is empty where nothing is to be done."""

    name: str
    state: State
    found: str
    cure: str = ""


def all_checks() -> list[Check]:
    """Every check, in the order a reader wants them. One that breaks is a failure of what it tests, not of the doctor."""
    found: list[Check] = []
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("Python", python), ("packages", packages), ("optional packages", optional_packages), ("CPU", cpu), ("memory", memory),
        ("disk", disk), ("open files", open_files), ("GPU", gpu), ("network runs on", device), ("allocator", allocator),
        ("JPEG TIFF", jpeg_tiff), ("OpenSlide", openslide), ("Zarr", zarr), ("model hub", model_hub),
    ]  # fmt: skip
    for name, check in checks:
        try:
            found.append(check())
        except Exception as error:  # a broken package may raise anything
            cure = "install malpighi afresh: pip install --force-reinstall malpighi"
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}".splitlines()[0], cure))
    return found


def python() -> Check:
    """The interpreter, and whether it is new enough."""
    found = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    good = sys.version_info >= (3, 11)
    return Check("Python", "ok" if good else "fail", found, "" if good else "malpighi needs Python 3.11 or newer")


def packages() -> Check:
    """Versions of what malpighi cannot do without."""
    have = {name: _version(name) for name in ESSENTIAL}
    missing = [name for name, value in have.items() if not value]
    found = ", ".join(f"{name} {value}" for name, value in have.items() if value)
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Check("packages", "ok", found)


def optional_packages() -> Check:
    """What would make something faster."""
    have = [f"{name} {value}" for name in OPTIONAL if (value := _version(name))]
    absent = [f"{name} ({use})" for name, use in OPTIONAL.items() if not _version(name)]
    return Check(
        "optional packages", "ok", "; ".join(filter(None, [", ".join(have), f"absent: {', '.join(absent)}" if absent else ""]))
    )


def cpu() -> Check:
    """Cores this process may use, and the instructions that networks gain from."""
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    # containers and schedulers often grant fewer threads than the machine has
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = cpu_flags()
    named = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}
    have = [text for flag, text in named.items() if flag in flags]
    found = f"{_cpu_name()}, {allowed} threads usable of {cores} cores; {', '.join(have) or 'no AVX known'}"
    if flags and "avx2" not in flags:
        return Check("CPU", "warn", found, "without AVX2 networks are several times slower; use another machine for training")
    return Check("CPU", "ok", found)


def memory() -> Check:
    """Memory left, by the tighter of machine and container."""
    import psutil

    memory = psutil.virtual_memory()
    limit = _container_limit()
    total = min(memory.total, limit or memory.total)
    free = min(memory.available, total)
    found = f"{free / GB:.1f} GB free of {total / GB:.1f} GB" + (" (container limit)" if limit and limit < memory.total else "")
    if free < 3 * GB:
        return Check("memory", "warn", found, "training wants about 3 GB and more; close programs or use a smaller train.batch")
    return Check("memory", "ok", found)


def disk() -> Check:
    """Space in the working folder and in the folder of temporary files, and whether both can be written."""
    cwd, temporary = Path.cwd(), Path(tempfile.gettempdir())
    found = ", ".join(f"{shutil.disk_usage(p).free / GB:.0f} GB free in {p}" for p in dict.fromkeys((cwd, temporary)))
    if not os.access(temporary, os.W_OK):
        return Check("disk", "fail", f"{temporary} cannot be written", "point TMPDIR at a folder that can")
    if min(shutil.disk_usage(p).free for p in (cwd, temporary)) < 5 * GB:
        return Check("disk", "warn", found, "a whole-slide result may need several GB; free space or use -o on another disk")
    return Check("disk", "ok", found)


def open_files() -> Check:
    """How many files may be open at once."""
    try:
        import resource
    except ImportError:
        return Check("open files", "ok", "no limit known on this system")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft < 1024
    return Check("open files", "warn" if few else "ok", f"{soft} at once", "ulimit -n 4096" if few else "")


def gpu() -> Check:
    """Accelerators torch can use; a warning where the machine has one and torch cannot."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        runtime = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
        return Check("GPU", "ok", ", ".join(f"{p.name} {p.total_memory / GB:.0f} GB" for p in names) + f" ({runtime})")
    if torch.backends.mps.is_available():
        return Check("GPU", "ok", "Apple GPU (MPS)")
    if shutil.which("nvidia-smi") and Path("/dev/nvidiactl").exists():
        cure = "install a torch build for this driver's CUDA: https://pytorch.org/get-started/locally"
        return Check("GPU", "warn", f"an NVIDIA GPU is there, but torch {torch.__version__} cannot use it", cure)
    return Check("GPU", "ok", "none; the CPU works")


def device() -> Check:
    """Where networks would run, with how many threads, and in which precision that is worth measuring."""
    import torch

    if torch.cuda.is_available():
        return Check("network runs on", "ok", f"cuda, {'bf16' if torch.cuda.is_bf16_supported() else 'fp16'} mixed precision")
    if torch.backends.mps.is_available():
        return Check("network runs on", "ok", "mps, float32")
    threads = torch.get_num_threads()
    fast = {"avx512_bf16", "amx_bf16"} & cpu_flags()
    found = f"cpu, {threads} threads, {'bf16 is native here' if fast else 'float32: bf16 is not native here'}"
    return Check("network runs on", "ok", found)


def allocator() -> Check:
    """Which allocator is loaded, settings from the environment, and whether training can make it keep freed pages."""
    from malpighi.training.allocator import keep_freed_pages

    settings = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("MALLOC_", "PYTORCH_CUDA_ALLOC"))}
    preload = os.environ.get("LD_PRELOAD", "")
    kind = next(
        (name for name in ("jemalloc", "tcmalloc", "mimalloc") if name in preload),
        f"{platform.libc_ver()[0] or 'system'} default",
    )
    kept = ["training keeps freed pages"] if keep_freed_pages() else []
    return Check("allocator", "ok", ", ".join([kind, *kept, *(f"{k}={v}" for k, v in settings.items())]))


def jpeg_tiff() -> Check:
    """Writes and reads a tiny tiled JPEG TIFF: the kind of tile most slides hold."""
    import numpy as np
    import tifffile

    with tempfile.TemporaryDirectory() as folder:
        path = _tiny_slide(Path(folder))
        read = tifffile.imread(path)
    off = float(np.abs(read.astype(int) - _ramp().astype(int)).mean())
    found = f"tifffile {tifffile.__version__} decodes tiled JPEG, mean error {off:.1f} of 255"
    return Check(
        "JPEG TIFF", "ok" if off < 4 else "fail", found, "" if off < 4 else "pip install --force-reinstall imagecodecs"
    )


def openslide() -> Check:
    """OpenSlide's library opens the same tiny slide."""
    import numpy as np
    import openslide

    with tempfile.TemporaryDirectory() as folder, openslide.OpenSlide(_tiny_slide(Path(folder))) as slide:
        read = np.asarray(slide.read_region((0, 0), 0, (256, 256)))[..., :3]
    off = float(np.abs(read.astype(int) - _ramp().astype(int)).mean())
    found = f"{openslide.__library_version__} decodes tiled JPEG, mean error {off:.1f} of 255"
    return Check(
        "OpenSlide", "ok" if off < 4 else "fail", found, "" if off < 4 else "pip install --force-reinstall openslide-bin"
    )


def zarr() -> Check:
    """A sharded, zstd-compressed Zarr 3 array comes back as it was written."""
    import numpy as np
    import zarr as library

    with tempfile.TemporaryDirectory() as folder:
        array = library.create_array(f"{folder}/a.zarr", shape=(256, 256), shards=(128, 128), chunks=(64, 64), dtype="uint8")
        array[:] = _ramp()[..., 0]
        same = bool((library.open_array(f"{folder}/a.zarr", mode="r")[:] == np.asarray(_ramp()[..., 0])).all())
    found = f"zarr {library.__version__}: sharded zstd round trip {'exact' if same else 'differs'}"
    return Check("Zarr", "ok" if same else "fail", found, "" if same else "pip install --force-reinstall zarr numcodecs")


def model_hub() -> Check:
    """Where pretrained weights are kept. No network is touched."""
    home = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub")
    held = len(list(home.glob("models--*"))) if home.is_dir() else 0
    offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON")
    return Check("model hub", "ok", f"{held} models in {home}{', offline mode' if offline else ''}; the network is not tested")


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags").split())


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _container_limit() -> int | None:
    """Memory limit of the container in bytes: cgroup 2, then cgroup 1."""
    for path in map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            return int(text)
    return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _ramp() -> np.ndarray:
    """(256, 256, 3) uint8, smooth, so that JPEG hardly changes it."""
    import numpy as np

    y, x = np.mgrid[0:256, 0:256]
    return np.stack([y, x, (y + x) // 2], axis=-1).astype(np.uint8)


def _tiny_slide(folder: Path) -> Path:
    import tifffile

    path = folder / "tiny.tif"
    tifffile.imwrite(path, _ramp(), tile=(128, 128), compression="jpeg", photometric="rgb")
    return path
