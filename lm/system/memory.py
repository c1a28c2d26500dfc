"""A setting of the C library's memory allocator."""

import ctypes
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the kernel and asking again.

    Each training step, and each block of text, allocates and frees large arrays of the same sizes. On a CPU the page
    faults of fresh memory cost up to a quarter of the time (`python -m benchmarks.training_step`). Without glibc this
    function does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
