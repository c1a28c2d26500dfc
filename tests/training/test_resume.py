"""Tests of lm/training/resume.py."""

import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from lm.training.backend import State
from lm.training.resume import ResumeFolder, open_resume_folder, resume_key

ARRAYS: dict[str, NDArray[Any]] = {"model/a": np.arange(6.0).reshape(2, 3), "b": np.array(7, np.float32)}


def state_of(step: int) -> State:
    return State(ARRAYS, {"step": step, "rows": [[1.0, 2.0]]})


STATE = state_of(3)


def same(one: State, other: State) -> bool:
    """Whether two states are equal, bit for bit."""
    return (
        json.dumps(one.values) == json.dumps(other.values)
        and list(one.arrays) == list(other.arrays)
        and all(
            (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
            for a, b in zip(one.arrays.values(), other.arrays.values(), strict=True)
        )
    )


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "key") as folder:
        assert folder.load() is None
        folder.save(STATE)
        folder.save(state_of(4))
    with open_resume_folder(tmp_path, "key") as folder:
        state = folder.load()
    assert state is not None
    assert same(state, state_of(4))
    assert not same(state, STATE)
    assert all(array.flags.writeable for array in state.arrays.values())


names = st.text("ab/._0", min_size=1, max_size=8).filter(lambda name: name.strip("/.") == name)
numbers = st.floats() | st.integers(-(2**63), 2**63) | st.booleans() | st.none() | st.text(max_size=3)
some_values = st.dictionaries(
    st.text(max_size=5), st.recursive(numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
)
some_arrays = npst.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.bool_]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@settings(max_examples=30)
@given(st.dictionaries(names, some_arrays, max_size=4), some_values)
@example({"turned": np.arange(6.0).reshape(2, 3).T}, {"loss": 0.1 + 0.2, "norm": math.inf, "none": math.nan})
def test_any_arrays_and_values_come_back_bit_for_bit(arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = ResumeFolder(Path(path))
        folder.save(State(arrays, values))
        state = folder.load()
    assert state is not None
    assert same(state, State(arrays, values))


def test_a_state_of_objects_is_refused_rather_than_pickled(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "key") as folder:
        with pytest.raises(ValueError, match="allow_pickle=False"):
            folder.save(State({"a": np.array([print])}, {}))
        assert folder.load() is None


def error_of_loading(folder: ResumeFolder) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared)
        folder.load()
    return str(caught.value)


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "key") as folder:
        folder.save(STATE)
        path = tmp_path / "key" / "state.npz"
        whole = path.read_bytes()

        def check(content: bytes) -> None:
            path.write_bytes(content)
            error = error_of_loading(folder)
            assert error.startswith(f"{path}: is damaged (")
            assert error.endswith("); delete it, and the run starts anew")
            assert "\n" not in error

        for length in range(len(whole)):
            check(whole[:length])
        check(b"no archive at all, but long enough to be one")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("b.npy", b"no array")
            archive.writestr("values.npy", b"no array")
        check(path.read_bytes())
        broken: list[Any] = [np.array("{"), np.zeros(3), np.array([print])]
        for values in [{}, *({"values": value} for value in broken)]:
            with path.open("wb") as file:
                np.savez(file, **(ARRAYS | values))
            check(path.read_bytes())
        path.write_bytes(whole)
        assert same(folder.load() or state_of(0), STATE)


def test_a_changed_byte_anywhere_never_gives_another_state(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "key") as folder:
        folder.save(STATE)
        path = tmp_path / "key" / "state.npz"
        whole = path.read_bytes()
        damaged = 0
        for place in range(len(whole)):
            for change in (1, 255):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
                message, state = "", None
                try:
                    state = folder.load()
                except ValueError as error:
                    message = str(error)
                    damaged += 1
                # A byte that says nothing, such as that of a date, does no harm.
                assert message.startswith(f"{path}: is damaged (") or (state is not None and same(state, STATE))
        assert damaged > len(whole)  # of twice as many


def test_runs_of_different_keys_do_not_see_each_other(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "one") as one, open_resume_folder(tmp_path, "other") as other:
        one.save(STATE)
        assert other.load() is None


def test_a_save_that_fails_midway_leaves_the_state_before(tmp_path: Path) -> None:
    class Unwritable:
        def __array__(self, *_args: Any, **_options: Any) -> NDArray[Any]:
            raise OSError(28, "No space left on device")

    unwritable: Any = Unwritable()
    with open_resume_folder(tmp_path, "key") as folder:
        folder.save(STATE)
        with pytest.raises(OSError, match="No space left"):
            folder.save(State(ARRAYS | {"last": unwritable}, {"step": 4}))
        state = folder.load()
    assert state is not None
    assert same(state, STATE)
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["lock", "state.npz"]


DIE_WHILE_SAVING = """
import os, sys
from pathlib import Path
import numpy as np
from lm.training.backend import State
from lm.training.resume import open_resume_folder

class Deadly:
    def __array__(self, *args, **options):
        os.kill(os.getpid(), 9)

with open_resume_folder(Path(sys.argv[1]), "key") as folder:
    folder.save(State({}, {"step": 4}))
    folder.save(State({"weights": np.zeros(100_000), "last": Deadly()}, {"step": 5}))
"""


def test_a_process_killed_while_it_saves_leaves_the_state_before_and_its_draft_is_cleared(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_WHILE_SAVING, tmp_path], check=False)
    assert killed.returncode == -9
    assert len(list((tmp_path / "key").glob(".*.draft"))) == 1
    with open_resume_folder(tmp_path, "key") as folder:
        assert folder.load() == State({}, {"step": 4})
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["lock", "state.npz"]


HOLD = """
import sys
from pathlib import Path
from lm.training.resume import open_resume_folder

with open_resume_folder(Path(sys.argv[1]), "key") as folder:
    draft = Path(sys.argv[1]) / "key" / ".state.npz.1.draft"
    draft.touch()
    print("held", flush=True)
    sys.stdin.read()
    assert draft.exists(), "a draft that is being written was deleted"
"""


def test_a_run_that_another_process_holds_is_a_clear_error_and_is_left_alone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ValueError, match=r"key: the same training already runs in another process; "),
        open_resume_folder(tmp_path, "key"),
    ):
        pass
    with open_resume_folder(tmp_path, "another key"):
        pass
    holder.communicate()
    assert holder.returncode == 0
    with open_resume_folder(tmp_path, "key"):  # free again
        pass


def test_the_lock_is_freed_when_the_block_fails(tmp_path: Path) -> None:
    def fail() -> ResumeFolder:
        with open_resume_folder(tmp_path, "key") as folder:
            if folder.load() is None:
                raise KeyboardInterrupt
            return folder

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fail()


FACTS: dict[str, Any] = {"parameters": {"train": {"steps": 3, "tokens": None}}, "inputs": ["ab", "cd"], "torch": "2.9"}


def test_the_key_does_not_depend_on_the_order_of_the_facts() -> None:
    assert resume_key(FACTS) == resume_key(dict(reversed(FACTS.items())))


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": {"train": {"steps": 4, "tokens": None}}},
        {"parameters": {"train": {"steps": 3, "tokens": 0}}},
        {"parameters": {"train": {"steps": 3}}},
        {"inputs": ["cd", "ab"]},
        {"torch": "2.10"},
        {"device": "cuda"},
    ],
)
def test_the_key_changes_with_every_fact(changed: dict[str, Any]) -> None:
    assert resume_key(FACTS | changed) != resume_key(FACTS)
