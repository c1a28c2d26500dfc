"""Tests of lm/system/files.py."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lm.system.files import read_json, replacing, sha256, write_json


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    with replacing(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_the_block_leaves_the_old_file_and_no_draft(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    """Its name can be guessed, and in a folder of several users somebody else may have put it there."""
    path, other = tmp_path / "file.bin", tmp_path / "other"
    other.write_bytes(b"other")
    (tmp_path / f".file.bin.{os.getpid()}.draft").symlink_to(other)
    with replacing(path) as file:
        file.write(b"content")
    assert (path.read_bytes(), other.read_bytes()) == (b"content", b"other")
    assert not path.is_symlink()


FILL_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from lm.system.files import replacing

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails, as on a full disk, instead of the process
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with replacing(Path(sys.argv[1])) as file:
        file.write(bytes(int(sys.argv[2])))
except OSError as error:
    sys.exit(error.errno)
"""


# 5000 bytes fit into the file object's buffer, so that they fail when it is flushed; 10 MB fail in `write`.
@pytest.mark.parametrize("size", [5_000, 10_000_000])
def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FILL_THE_DISK, path, str(size)], check=False)
    assert done.returncode == 27  # EFBIG, what the limit says in place of ENOSPC
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": "snow ☃ \u2028 \n", "nothing": {}}
    write_json(tmp_path / "value.json", value)
    again = read_json(tmp_path / "value.json")
    assert again == value
    assert list(again) == ["b", "a", "nothing"]
    assert (tmp_path / "value.json").read_bytes() == (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800"])
def test_a_value_that_is_no_json_is_an_error_and_leaves_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        write_json(tmp_path / "value.json", value)
    assert not list(tmp_path.iterdir())


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"card\.json: no such file$"):
        read_json(tmp_path / "card.json")


@pytest.mark.parametrize("data", [b"", b"{", b"{} {}", b"\xff\xfe{"])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "card.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"card\.json: not valid JSON: "):
        read_json(tmp_path / "card.json")


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file.bin").write_bytes(data)
    assert sha256(tmp_path / "file.bin") == hashlib.sha256(data).hexdigest()
