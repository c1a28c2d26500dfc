"""Where two files first differ, in words."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

_BLOCK = 1 << 20
_HEAD = 8000  # as git does, we take a file for text when its first 8000 bytes hold no NUL
_AROUND = 30  # characters shown before and after a difference


def first_difference(expected: Path, got: Path) -> str:
    """Where two existing files first differ: a tensor, a line or a byte."""
    return (
        _tensor_difference(expected, got)
        or (_line_difference(expected, got) if _is_text(expected) and _is_text(got) else "")
        or _byte_difference(expected, got)
    )


def _tensor_difference(expected: Path, got: Path) -> str:
    """The first tensor that differs in two safetensors files, or else the first metadata key that differs.

    "" where the files hold the same, and for files of any other kind.
    """
    try:
        with safe_open(expected, framework="np") as first, safe_open(got, framework="np") as second:
            names = list(dict.fromkeys([*first.keys(), *second.keys()]))
            differing = [name for name in names if not _same_tensor(first, second, name)]
            if differing:
                values = _tensor_values(first, second, differing[0])
                return f"tensor {differing[0]} ({len(differing)} of {len(names)} differ): {values}"
            return _metadata_difference(first.metadata() or {}, second.metadata() or {})
    except SafetensorError:
        return ""


def _same_tensor(first: Any, second: Any, name: str) -> bool:
    if name not in first.keys() or name not in second.keys():  # noqa: SIM118  (this file object is not a dict)
        return False
    a, b = first.get_tensor(name), second.get_tensor(name)
    return bool(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    )  # compared as bytes, NaN equals NaN


def _tensor_values(first: Any, second: Any, name: str) -> str:
    here, there = (name in file.keys() for file in (first, second))  # noqa: SIM118  (as above)
    if not (here and there):
        return f"only in the {'original' if here else 'new file'}"
    a, b = first.get_tensor(name), second.get_tensor(name)
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{a.dtype} {list(a.shape)} became {b.dtype} {list(b.shape)}"
    return f"largest absolute difference {np.abs(a.astype(np.float64) - b.astype(np.float64)).max():.3g}"


def _metadata_difference(first: dict[str, str], second: dict[str, str]) -> str:
    for key in sorted({*first, *second}):
        if first.get(key) != second.get(key):
            return f"metadata {key}: {_change(json.dumps(first.get(key)), json.dumps(second.get(key)))}"
    return ""


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(_HEAD)


def _line_difference(expected: Path, got: Path) -> str:
    """The first line that differs in two texts; "" where only the ends of lines differ."""
    with (
        expected.open(encoding="utf-8", errors="backslashreplace") as first,
        got.open(encoding="utf-8", errors="backslashreplace") as second,
    ):
        for number, (a, b) in enumerate(zip_longest(first, second), start=1):
            if a is None or b is None:
                return f"line {number}: only in the {'new file' if a is None else 'original'}: {_cut(a or b or '')}"
            if a.rstrip("\n") != b.rstrip("\n"):
                return f"line {number}: {_change(a, b)}"
    return ""


def _byte_difference(expected: Path, got: Path) -> str:
    """The first byte that differs in two files."""
    with expected.open("rb") as first, got.open("rb") as second:
        offset = 0
        while (a := first.read(_BLOCK)) == (b := second.read(_BLOCK)) and a:
            offset += len(a)
    if a == b:
        return "nowhere"
    common = _common(a, b)
    if common == min(len(a), len(b)):
        return f"byte {offset + common}: the {'original' if len(a) < len(b) else 'new file'} ends"
    return f"byte {offset + common}: {a[common]:#04x} became {b[common]:#04x}"


def _change(first: str, second: str) -> str:
    start = _common(first, second)
    return f"{_cut(first, start)} became {_cut(second, start)}"


def _cut(line: str, around: int = 0) -> str:
    """The part of a line near one of its characters, in quotes."""
    line, start = line.rstrip("\n"), max(0, around - _AROUND)
    end = start + 2 * _AROUND
    return f"{'…' if start else ''}{line[start:end]!r}{'…' if end < len(line) else ''}"


def _common(a: bytes | str, b: bytes | str) -> int:
    """The length of the common beginning of two sequences, in bytes or characters."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # bisection compares slices, which is fast in Python
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
