"""Tests of experiments/run/file_difference.py."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments.run.file_difference import first_difference


def difference(tmp_path: Path, first: bytes | str, second: bytes | str) -> str:
    for name, content in (("first", first), ("second", second)):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return first_difference(tmp_path / "first", tmp_path / "second")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("step,loss\n1,2.5\n2,1.5\n", "step,loss\n1,2.5\n2,1.6\n", "line 3: '2,1.5' became '2,1.6'"),
        ("a\n", "a\nb\n", "line 2: only in the new file: 'b'"),
        ("a\nb\n", "a\n", "line 2: only in the original: 'b'"),
        ("", "a\n", "line 1: only in the new file: 'a'"),
        ("a\n", "a", "byte 1: the new file ends"),
        ("a\r\n", "a\n", "byte 1: 0x0d became 0x0a"),
        (b"caf\xe9\n", b"caf\xe8\n", r"line 1: 'caf\\xe9' became 'caf\\xe8'"),
        ("x" * 5000 + "A" + "z" * 5000, "x" * 5000 + "B" + "z" * 5000, "A"),
        (b"\0\1\2", b"\0\1\3", "byte 2: 0x02 became 0x03"),
        (b"\0\1\2", b"\0\1", "byte 2: the new file ends"),
        (b"\0" * (3 << 20) + b"\1", b"\0" * (3 << 20) + b"\2", f"byte {3 << 20}: 0x01 became 0x02"),
        (b"\0\1", b"\0\1", "nowhere"),
        ("", "", "nowhere"),
    ],
)
def test_the_first_line_or_byte_that_differs(
    tmp_path: Path, first: bytes | str, second: bytes | str, expected: str
) -> None:
    if len(expected) == 1:  # of a long line, only the text around the difference is shown
        around = "…'" + "x" * 30 + "{}" + "z" * 29 + "'…"
        expected = f"line 1: {around.format('A')} became {around.format('B')}"
    assert difference(tmp_path, first, second) == expected


def test_the_first_tensor_or_metadata_that_differs(tmp_path: Path) -> None:
    weights = {name: np.arange(6, dtype=np.float32).reshape(2, 3) for name in ("a", "b", "c")}
    original, new = tmp_path / "original", tmp_path / "new"
    save_file(weights, original, {"key": "value"})

    def difference_to(values: dict[str, np.ndarray], **metadata: str) -> str:
        save_file(values, new, metadata or {"key": "value"})
        return first_difference(original, new)

    assert difference_to(weights) == "nowhere"
    changed = weights | {"b": weights["b"] + np.float32(0.25), "c": weights["c"] * 2}
    assert difference_to(changed) == "tensor b (2 of 3 differ): largest absolute difference 0.25"
    assert difference_to(weights | {"a": weights["a"].T.copy()}) == (
        "tensor a (1 of 3 differ): float32 [2, 3] became float32 [3, 2]"
    )
    assert difference_to({name: weights[name] for name in "ab"}) == "tensor c (1 of 3 differ): only in the original"
    assert difference_to(weights | {"d": weights["a"]}) == "tensor d (1 of 4 differ): only in the new file"
    assert difference_to(weights, key="other") == """metadata key: '"value"' became '"other"'"""


def test_a_nan_equals_itself(tmp_path: Path) -> None:
    weights = {"a": np.array([np.nan, 1.0], dtype=np.float32)}
    save_file(weights, tmp_path / "original")
    save_file(weights | {"b": np.zeros(1, dtype=np.float32)}, tmp_path / "new")
    assert first_difference(tmp_path / "original", tmp_path / "new") == "tensor b (1 of 2 differ): only in the new file"
