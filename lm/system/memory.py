"""How much memory this process has used, whether it ran out, and settings of the libraries that allocate it."""

import ctypes
import os
import platform
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4

# What PyTorch says on a CPU, of C++'s allocator, on Apple's GPUs and CUDA, and of cuBLAS.
_OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the kernel and asking again.

    Each training step, each block of text, and each token of an answer allocates and frees large arrays of the same
    sizes. On a CPU the page faults of fresh memory cost up to a quarter of the time (`python -m
    benchmarks.training_step`). Without glibc this function does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def keep_memory_flat() -> None:
    """Let a process that computes for weeks need no more memory than in its first minutes. Call it before it computes.

    On a CPU, oneDNN and PyTorch keep code for each shape of a product, each for up to 1,024 shapes, and texts that come
    and go have hundreds; for a step and a prompt a dozen are enough. And glibc takes even large blocks from its heap
    once it has freed one, so that the heap falls into pieces; of these only caches of keys and values are so large.
    Variables of the environment that are set already stay as they are.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. PyTorch has an error class for this only on CUDA."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in _OUT_OF_MEMORY))
    )


def peak_memory_bytes() -> int | None:
    """The most memory that this process has used so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_gpu_memory_bytes() -> int | None:
    """The most memory of the GPU that PyTorch has reserved so far; None if it computes on no CUDA GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    peak: int = torch.cuda.max_memory_reserved()
    return peak


def memory_used() -> str:
    """The most memory that this process has used so far, in words."""
    peaks = {"memory": peak_memory_bytes(), "the GPU's memory": peak_gpu_memory_bytes()}
    sizes = (f"{peak / 2**30:.2f} GiB of {name}" for name, peak in peaks.items() if peak is not None)
    return f"{' and '.join(sizes)} used so far"
