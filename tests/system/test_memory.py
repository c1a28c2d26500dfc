"""Tests of lm/system/memory.py. That a server needs no more with time is measured by benchmarks/serving.py."""

import os
import platform
import subprocess
import sys

import pytest

# Blocks of two sizes in turns: the larger is freed while a small one behind it stays.
PROGRAM = """
import ctypes, sys
from lm.system.memory import keep_memory_flat
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * 4096
if sys.argv[1] == 'flat':
    keep_memory_flat()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def block(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address
libc.free(block(30 * 2**20))  # from now on glibc takes blocks of up to this size from its heap
before = resident()
large, small = [], []
for _ in range(5):
    large.append(block(8 * 2**20))
    small.append(block(1000))
for address in large:
    libc.free(address)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_blocks_go_back_to_the_system_although_small_ones_behind_them_stay() -> None:
    kept, flat = (
        int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout)
        for how in ("as it is", "flat")
    )
    assert kept > 20 * 2**20
    assert flat < 2 * 2**20


def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "5")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    program = "import os; from lm.system.memory import keep_memory_flat; keep_memory_flat(); print(*(os.environ[n] for "
    program += "n in ('LRU_CACHE_CAPACITY', 'ONEDNN_PRIMITIVE_CACHE_CAPACITY')))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout == "5 16\n"
