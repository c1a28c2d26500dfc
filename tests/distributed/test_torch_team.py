"""Training by two processes against training by one, with real processes that talk through Gloo."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lm.distributed.launch import launch
from lm.distributed.team import Team
from lm.distributed.torch_team import is_lost_member, join
from lm.formats.tokens import TokenFile
from lm.training.backend import State
from lm.training.source import Windows
from tests.distributed.team_program import (
    BASE,
    BATCH_SIZE,
    CASES,
    MOVES,
    N_STEPS,
    SEED,
    VOCAB_SIZE,
    build,
    finish,
    load,
    save,
    weighted,
)
from tests.project import ROOT
from tests.small import random_documents, train_config, write_tokens

pytestmark = pytest.mark.slow

# Dropout differs from one process to two by design, and float16 by more than is worth comparing.
COMPARED = [case for case, (model, train) in CASES.items() if not model.get("dropout") and "precision" not in train]


class Runs(NamedTuple):
    """Folders of what was trained: by one process, by two, and by two once more."""

    files: Path
    once: Path
    again: Path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tokens, and of the states of every case, trained in this process."""
    files = tmp_path_factory.mktemp("alone")
    write_tokens(files, random_documents(20, 30, VOCAB_SIZE), VOCAB_SIZE, "train")
    write_tokens(files, random_documents(5, 30, VOCAB_SIZE, seed=1), VOCAB_SIZE, "valid")
    for case in COMPARED:
        halfway, end = finish(*build(case, files, Team()))
        save(end, files, case, 0)
        if case == "copies":
            save(halfway, files, "alone halfway", 0)
    return files


@pytest.fixture(scope="module")
def runs(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two runs of the program, each in two processes."""
    folders = [tmp_path_factory.mktemp(name) for name in ("once", "again")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("OMP_NUM_THREADS", "1")
        for folder in folders:
            launch([sys.executable, "-m", "tests.distributed.team_program", str(alone), str(folder)], 2)
    return Runs(alone, *folders)


def rows(state: State, curve: str, *columns: str) -> NDArray[np.float64]:
    """Columns of one of the curves in a state of the trainer, (rows, columns)."""
    arrays = state.part(curve)
    return np.stack([arrays[column] for column in columns], axis=1)


def assert_same(one: State, other: State, but: tuple[str, ...] = ()) -> None:
    """Equal bit for bit."""
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name, strict=True)
    one_values, other_values = (
        {name: value for name, value in state.values.items() if name not in but} for state in (one, other)
    )
    assert json.dumps(one_values) == json.dumps(other_values)


def assert_close(arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]], atol: float) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=atol, err_msg=name)


def assert_equal_within_rounding(state: State, expected: State, *, muon: bool = False) -> None:
    """The same run but for the order of sums."""
    # Sums in another order change a loss of 3 by some of float32's units there, 2e-7, and a gradient's norm in the
    # seventh digit. Where gradients are as small as eps, 1e-4, Adam divides errors of 1e-9 by that: 1e-7 a step at a
    # rate of 0.01; and the weights of norms are 1, which rounds by 6e-8. Muon's iteration multiplies roundings of 6e-8
    # by up to 485, for updates of 0.2 * sqrt(48) * 0.01.
    atol = 1e-5 if muon else 1e-6
    columns = ("loss", "accuracy")
    assert len(rows(state, "steps", "step")) == len(rows(expected, "steps", "step")) == N_STEPS
    np.testing.assert_allclose(rows(state, "steps", *columns), rows(expected, "steps", *columns), rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        rows(state, "steps", "gradient_norm"), rows(expected, "steps", "gradient_norm"), rtol=2e-6
    )
    assert len(rows(state, "valid", "step")) == 2
    np.testing.assert_allclose(rows(state, "valid", *columns), rows(expected, "valid", *columns), rtol=0, atol=2e-6)
    exact = ("step", "tokens", "learning_rate")
    assert np.array_equal(rows(state, "steps", *exact), rows(expected, "steps", *exact))
    assert_close(state.part("kept"), expected.part("kept"), atol)
    for part in ("weights", "moments"):
        mine, theirs = (State(each.part("backend"), {}).part(part) for each in (state, expected))
        assert_close(mine, theirs, atol)
    assert state.values["backend"] == expected.values["backend"]


@pytest.mark.parametrize("case", COMPARED)
def test_two_processes_take_the_steps_of_one_within_rounding(runs: Runs, case: str) -> None:
    assert_equal_within_rounding(load(runs.once, case), load(runs.files, case), muon="muon" in case)


def test_the_comparison_tells_other_steps_apart(runs: Runs) -> None:
    whole = load(runs.files, "copies")
    for case in set(COMPARED) - {"copies", "copies, parts", "copies, recompute"}:
        if not case.startswith("shares"):
            with pytest.raises(AssertionError):
                assert_equal_within_rounding(load(runs.files, case), whole)


@pytest.mark.parametrize("case", CASES)
def test_both_processes_hold_the_same_model_bit_for_bit(runs: Runs, case: str) -> None:
    assert_same(load(runs.once, case, 0), load(runs.once, case, 1), but=("seen",))
    assert_same(load(runs.once, f"{case} halfway", 0), load(runs.once, f"{case} halfway", 1))


@pytest.mark.parametrize("case", [*CASES, *(f"{source} in {case}" for source, case in MOVES)])
def test_a_second_run_gives_the_same_bits(runs: Runs, case: str) -> None:
    for rank in (0, 1):
        assert_same(load(runs.once, case, rank), load(runs.again, case, rank))


@pytest.mark.parametrize("case", CASES)
def test_together_they_see_the_batches_that_one_sees(runs: Runs, case: str) -> None:
    config = train_config(**BASE | CASES[case][1])
    first, second = (load(runs.once, case, rank).values["seen"] for rank in (0, 1))
    tokens = Windows(TokenFile(runs.files / "train.bin", runs.files / "train.json").ids, 8)
    for step in range(N_STEPS):
        n = config.n_parts(step) * config.part_size
        batch = tokens.draw(SEED, config.n_sequences(step), n).inputs
        # Of each part the first half of the sequences, and the second.
        halves = batch.reshape(config.n_parts(step), 2, -1, 8).swapaxes(0, 1).reshape(2, -1, 8)
        assert [first[step], second[step]] == halves.tolist()
    assert config.ramp_steps or all(len(rows) == BATCH_SIZE // 2 for rows in first + second)
    if case in COMPARED:
        seen = load(runs.files, case).values["seen"]
        assert [sorted(step) for step in seen] == [
            sorted(one + other) for one, other in zip(first, second, strict=True)
        ]


@pytest.mark.parametrize(("source", "case"), MOVES)
def test_a_state_goes_on_in_another_team(runs: Runs, source: str, case: str) -> None:
    saved = load(runs.files if source == "alone" else runs.once, f"{source} halfway")
    for rank in (0, 1):
        assert_same(load(runs.once, f"{source} loaded in {case}", rank), saved)
    assert saved.values["step"] == N_STEPS // 2
    assert_equal_within_rounding(load(runs.once, f"{source} in {case}"), load(runs.files, "copies"))


@pytest.mark.parametrize("source", ["copies", "shares"])
def test_a_state_of_two_processes_goes_on_in_one(runs: Runs, source: str) -> None:
    saved = load(runs.once, f"{source} halfway")
    trainer, backend = build("copies", runs.files, Team())
    trainer.load_state(saved)
    assert_same(trainer.state(), saved)
    assert_equal_within_rounding(finish(trainer, backend)[1], load(runs.files, "copies"))


def test_each_process_drops_out_other_activations(runs: Runs) -> None:
    first, second = (load(runs.once, "facts", rank).arrays for rank in (0, 1))
    assert np.array_equal(first["0.0"], second["0.0"])
    assert not np.isclose(first["0.3"], second["0.3"]).any(axis=-1).all()


def test_every_process_knows_its_place_the_leader_s_wish_and_the_mean(runs: Runs) -> None:
    facts = [load(runs.once, "facts", rank).values for rank in (0, 1)]
    assert [each["place"] for each in facts] == [[0, 2, True], [1, 2, False]]
    assert [each["leader_s"] for each in facts] == [5, 5]
    assert [each["mean"] for each in facts] == [[1.5, 3.0]] * 2


def test_a_batch_whose_rows_weigh_differently_has_the_mean_and_gradient_it_has_in_one_process(runs: Runs) -> None:
    expected = weighted(Team())
    for rank in (0, 1):
        # Losses of 3 and a norm of 1 in float32, whose sums are in another order.
        assert load(runs.once, "facts", rank).values["weighted"] == pytest.approx(expected, abs=2e-6)


def test_with_shares_each_process_holds_a_part_of_the_model(runs: Runs) -> None:
    copies, shares = (
        [load(runs.once, "facts", rank).values["n_held"][case] for rank in (0, 1)] for case in ("copies", "shares")
    )
    assert copies[0] == copies[1] == sum(shares)
    # Every matrix and vector has an even number of rows, but for the embedding: 11 of its 21 fall to the leader.
    assert shares[0] - shares[1] == 16


def test_alone_there_is_no_team_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team, device = join(torch.device("cpu"))
    assert (team.rank, team.size, team.leads, device) == (0, 1, True, torch.device("cpu"))
    assert (team.broadcast(3), team.mean(2.5)) == (3, 2.5)
    team.leave()
    assert not dist.is_initialized()


def test_the_loss_of_a_member_is_told_from_other_errors() -> None:
    lost = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:38817"
    assert is_lost_member(RuntimeError(lost))
    assert is_lost_member(dist.DistNetworkError("the client socket has timed out"))
    assert not is_lost_member(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
