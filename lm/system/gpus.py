"""One GPU for each job. DVC's queue starts several jobs on a machine and does not assign GPUs to them."""

import ctypes
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # an open file holds its lock until the process ends


def claim_gpu(device: str, folder: Path | None = None) -> str | None:
    """The GPU that this process claims until it ends, and then is the only GPU it sees; None if it claims none.

    `device` is the parameter of that name; only `auto` and `cuda` claim a GPU. Call this function before CUDA starts.
    `CUDA_VISIBLE_DEVICES` limits the choice. If no GPU is free, or there is only one, nothing is claimed and jobs share
    GPUs. `folder` holds the locks of all jobs of a machine.

    Raises:
        ValueError: when the folder is not a folder that only this user can write to.
    """
    if device not in ("auto", "cuda"):
        return None
    if _held:
        return os.environ["CUDA_VISIBLE_DEVICES"]
    folder = folder or Path(tempfile.gettempdir()) / f"storyline-gpus-{os.getuid()}"
    names = _visible()
    if len(names) < 2:
        return None
    _make_private(folder)
    for name in names:
        # Without O_TRUNC and with O_NOFOLLOW, because a file or link of this name may belong to somebody else.
        number = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        lock = os.fdopen(number, "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        os.environ["CUDA_VISIBLE_DEVICES"] = name
        return name
    return None


def is_absent(device: str) -> bool:
    """Whether this machine surely lacks a device. Only PyTorch knows for certain, and it takes seconds to load."""
    if device == "mps":
        return sys.platform != "darwin"
    if device != "cuda":
        return False
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return True
    # What the drivers of NVIDIA, of AMD and of Windows below Linux leave.
    if any(Path("/dev", name).exists() for name in ("nvidiactl", "nvmap", "kfd", "dxg")):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


def _make_private(folder: Path) -> None:
    """Make the folder and check that it is private, because anybody can write to a temporary directory."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o022:
        raise ValueError(f"{folder}: must be a folder that only user {os.getuid()} can write to; remove it")


def _visible() -> list[str]:
    """The identifiers of the GPUs that this process may use. The driver is asked, because PyTorch would start CUDA."""
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(
        ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"], capture_output=True, text=True
    )
    gpus = [line.split(", ") for line in listing.stdout.splitlines()] if listing.returncode == 0 else []
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [uuid for _, uuid in gpus]
    by_name = {name: uuid for index, uuid in gpus for name in (index, uuid)}
    return [by_name[name] for name in map(str.strip, wanted.split(",")) if name in by_name]
