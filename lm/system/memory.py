"""The memory allocator of the C library, told to keep what it has."""

import ctypes
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the kernel and asking again.

    A training step frees and takes the same large arrays every time, and so does each block of text; on a CPU the page
    faults of fresh ones cost up to a quarter of the time (`python -m benchmarks.training_step`). Elsewhere than on
    glibc this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
