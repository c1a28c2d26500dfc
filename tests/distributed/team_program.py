"""Trains small models in a team of processes, for `test_torch_team`, and writes what came of them to a folder."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributed.tensor import DTensor

from lm.distributed.team import Team
from lm.distributed.torch_team import join
from lm.formats.tokens import TokenFile
from lm.model.transformer import Transformer
from lm.training.backend import Arrays, State
from lm.training.batch import Batch
from lm.training.resume import ResumeFolder
from lm.training.source import Windows
from lm.training.torch_backend import TorchBackend
from lm.training.trainer import Trainer
from tests.small import model_config, train_config

VOCAB_SIZE = 21  # odd, so that the embedding does not come in equal shares
SEED = 7
N_STEPS = 6
BATCH_SIZE = 4
# Validation has a batch of 4 sequences and one of 1, which two processes cannot share. Adam divides
# roundings by gradients that may be as small, unless eps is larger.
BASE: dict[str, Any] = {
    "steps": N_STEPS,
    "batch_size": BATCH_SIZE,
    "valid_every": 3,
    "valid_sequences": 5,
    "eps": 1e-4,
}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "copies": ({}, {}),
    "copies, sgd": ({"tie_embeddings": False, "bias": True}, {"optimizer": "sgd", "nesterov": True, "clip_norm": 0.5}),
    "copies, parts": ({}, {"accumulate": 2}),
    "copies, ramp": ({}, {"accumulate": 2, "ramp_steps": 4}),
    "copies, muon": ({}, {"optimizer": "muon"}),
    "copies, recompute": ({}, {"recompute": True}),
    "copies, dropout": ({"dropout": 0.3}, {}),
    "copies, fp16": ({}, {"precision": "fp16"}),
    "shares": ({}, {"shard": True}),
    "shares, sgd": (
        {"tie_embeddings": False, "bias": True},
        {"optimizer": "sgd", "nesterov": True, "clip_norm": 0.5, "shard": True},
    ),
    "shares, parts": ({}, {"accumulate": 2, "shard": True}),
    "shares, muon": ({}, {"optimizer": "muon", "shard": True}),
    "shares, recompute": ({"dropout": 0.3}, {"recompute": True, "shard": True}),
    "shares, dropout": ({"dropout": 0.3}, {"shard": True}),
}
# A state saved halfway, under its name, and the case that goes on from it.
MOVES = [("alone", "copies"), ("alone", "shares"), ("copies", "shares"), ("shares", "copies")]


def build(case: str, files: Path, team: Team) -> tuple[Trainer, TorchBackend]:
    """A trainer of a case, and its backend."""
    model, train = CASES[case]
    config, shape = train_config(**BASE | train), model_config(**model)
    backend = TorchBackend(Transformer(shape, VOCAB_SIZE, SEED), config, torch.device("cpu"), team)
    token_files = (TokenFile(files / f"{n}.bin", files / f"{n}.json") for n in ("train", "valid"))
    train_windows, valid_windows = (Windows(tokens.ids, shape.context_length) for tokens in token_files)
    return Trainer(backend, train_windows, valid_windows, config, SEED), backend


def finish(trainer: Trainer, backend: TorchBackend) -> tuple[State, State]:
    """The states halfway and at the end; the latter notes which inputs this process has seen at every step."""
    seen: list[list[list[int]]] = []

    def see(_: object, inputs: tuple[torch.Tensor]) -> None:
        if backend.model.training:  # and not validated
            seen[-1].extend(inputs[0].tolist())

    hook = backend.model.embedding.register_forward_pre_hook(see)
    run, halfway = trainer.run(), copied(trainer.state())
    while not trainer.done:
        seen.append([])
        next(run)
        if trainer.step == N_STEPS // 2:
            halfway = copied(trainer.state())
    hook.remove()
    end = copied(trainer.state())
    return halfway, State(end.arrays, end.values | {"seen": seen})


def copied(state: State) -> State:
    """A state that later steps do not change."""
    return State({name: array.copy() for name, array in state.arrays.items()}, json.loads(json.dumps(state.values)))


def activations(dropout: float, team: Team) -> NDArray[np.float32]:
    """What a model makes of the same row in this process, with the noise of a step."""
    config, shape = train_config(), model_config(dropout=dropout)
    backend = TorchBackend(Transformer(shape, VOCAB_SIZE, SEED), config, torch.device("cpu"), team)
    found: list[NDArray[np.float32]] = []
    backend.model.final_norm.register_forward_hook(lambda _, inputs, output: found.append(output.detach().numpy()))
    backend.gradient([Batch.of_windows(np.arange(9)[None].repeat(team.size, 0))], (SEED, 0))
    return found[0]


def weighted(team: Team) -> list[float]:
    """Loss, accuracy and gradient norm of a batch in two parts, whose rows weigh 1, 2, 0 and half as much."""
    config, shape = train_config(), model_config()
    backend = TorchBackend(Transformer(shape, VOCAB_SIZE, SEED), config, torch.device("cpu"), team)
    parts = []
    for part in range(2):
        windows = np.random.Generator(np.random.Philox(key=part)).integers(0, VOCAB_SIZE, (4, 9))
        weights = np.array([1.0, 2.0, 0.0, 0.5], np.float32)[:, None].repeat(8, 1)
        parts.append(Batch(windows[:, :-1], windows[:, 1:], weights / (part + 1)))
    measured, norm = backend.gradient(parts, (SEED, 0))
    return [*measured, norm, *backend.measure(parts[0])]


def n_held(backend: TorchBackend) -> int:
    """How many of the model's numbers this process holds."""
    return sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in backend.model.parameters())


def save(state: State, folder: Path, name: str, rank: int) -> None:
    """Write a state; `load` reads it."""
    path = folder / name / str(rank)
    path.mkdir(parents=True)
    ResumeFolder(path).save(state)


def load(folder: Path, name: str, rank: int = 0) -> State:
    """A state that `save` wrote."""
    state = ResumeFolder(folder / name / str(rank)).load()
    assert state is not None
    return state


def main(files: Path, folder: Path) -> None:
    """Everything that `test_torch_team` asks about."""
    team, _ = join(torch.device("cpu"))
    for case in CASES:
        halfway, end = finish(*build(case, files, team))
        save(halfway, folder, f"{case} halfway", team.rank)
        save(end, folder, case, team.rank)
    for source, case in MOVES:
        trainer, backend = build(case, files, team)
        state = load(files if source == "alone" else folder, f"{source} halfway")
        trainer.load_state(state)
        save(trainer.state(), folder, f"{source} loaded in {case}", team.rank)
        save(finish(trainer, backend)[1], folder, f"{source} in {case}", team.rank)
    arrays: Arrays = {str(dropout): activations(dropout, team) for dropout in (0.0, 0.3)}
    values = {
        "place": [team.rank, team.size, team.leads],
        "n_held": {case: n_held(build(case, files, team)[1]) for case in ("copies", "shares")},
        "leader_s": team.broadcast(team.rank + 5),
        "weighted": weighted(team),
        "mean": team.mean(torch.tensor([1.0, 2.0]) * (team.rank + 1)).tolist(),
    }
    save(State(arrays, values), folder, "facts", team.rank)
    team.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
