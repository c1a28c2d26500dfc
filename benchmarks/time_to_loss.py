"""How fast our training and nanoGPT's recipe reach a loss: at equal sizes, on the same tokens and one machine.

    pip install '.[bench]'
    python -m benchmarks.time_to_loss --preset tinystories-1m --csv race.csv --png race.png
    python -m benchmarks.time_to_loss --peer-learning-rate 0.001 0.002 0.004 --adamw
    python -m benchmarks.time_to_loss --tokens 102400 -S train.learning_rate=0.01

It reads the tokens that the encode stage writes, so first run the preset with `dvc exp run` or `python -m experiments
run`. The contestants train one after the other, each in its own process and on the same number of tokens:

    storyline        the model and the recipe of a preset of experiments.yaml, as the train stage trains them
    storyline adamw  with --adamw: the same with AdamW, to show what the preset's optimizer gains
    nanoGPT          https://github.com/karpathy/nanoGPT, the recipe of its config/train_shakespeare_char.py on
                     transformers' GPT2LMHeadModel: learned positions, layernorm, GELU, 4 d_model wide, biases, a tied
                     head, no dropout; weights from N(0, 0.02), those into the residual stream divided by
                     sqrt(2 n_layers); PyTorch's fused AdamW with betas 0.9 and 0.99, weight decay 0.1 on matrices
                     only, gradients clipped to 1; a warm-up of 100 steps, or of a twentieth of the run if that is
                     less, then a cosine to a tenth of the peak, which is --peer-learning-rate

All contestants have the d_model, n_layers, n_heads, context_length, vocabulary, batch size, precision, device and
threads of the preset. Every step of every contestant has the same windows in the same order: the peer gets them from
`Windows` (lm.training.source), as our trainer does. The width of the feed-forward layer belongs to the recipe, so the
numbers of parameters differ; the table shows them.

Seconds are those of the steps, with the first step and compilation, but without building the model and validation.
Ours has the allocator that the train stage sets, and the peer has not; to give it to all:

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 python -m benchmarks.time_to_loss

Bits per byte are measured on the whole validation file. It is cut into windows of one context that do not overlap. Each
window predicts context_length tokens, each from the earlier tokens of the window. The mean loss of these predictions,
in nats a token, stands for every token of the file:

    bits per byte = mean loss * n_tokens / (n_bytes * ln 2)        n_tokens and n_bytes as in the file's card

The tokens after the last window, fewer than one context, are not predicted. A window may start inside a document and
does not see the beginning of it. So the bits per byte are a little higher than those of the evaluate stage, which reads
every document from its start.

In the table the peer is the nanoGPT run with the lowest final value; the dotted line of the picture shows this value.
The time when a contestant reaches it is interpolated linearly between two validations. `ratio` is the peer's time
divided by the contestant's time.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from experiments.define.experiment_set import select, with_overrides
from experiments.define.experiments_file import load_experiments
from experiments.define.parameters import load_params, parse_override
from experiments.report.style import colours
from lm.analysis.figure import log_axis, name_ends, new_figure, plain_axis, save_figure
from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.model_file import check_same_tokenizer
from lm.formats.parameters import n_parameters
from lm.formats.tokens import TokenFile
from lm.optim.schedule import learning_rate
from lm.system.devices import autocast, choose_device
from lm.system.files import replacing
from lm.system.memory import keep_freed_memory
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.compute import choose_precision
from lm.training.source import Windows
from lm.training.timing import machine
from lm.training.trainer import Trainer

PARAMS = Path("params.yaml")
EXPERIMENTS = Path("experiments.yaml")
COLUMNS = ["contestant", "seconds", "step", "tokens", "bits_per_byte"]

Ids = NDArray[np.int64]  # windows, (batch, context_length + 1)


class Contestant(NamedTuple):
    """What one process trains, and its data."""

    name: str
    peer_learning_rate: float | None  # None for our model
    compile_peer: bool
    sections: dict[str, Any]  # of params.yaml; the peer uses their sizes, batches, precision, device and threads
    seed: int
    folder: str
    every: int

    @property
    def model(self) -> ModelConfig:
        """Our model."""
        return ModelConfig.parse(self.sections["model"])

    @property
    def train(self) -> TrainConfig:
        """Our recipe."""
        return TrainConfig.parse(self.sections["train"])

    @property
    def n_steps(self) -> int:
        """The steps of the whole run."""
        return self.train.n_steps(self.model.context_length)

    def tokens(self, split: str) -> TokenFile:
        """The tokens to train on, or to validate on."""
        return TokenFile(Path(self.folder, f"{split}.bin"), Path(self.folder, f"{split}.json"))


class Training(NamedTuple):
    """A model in training."""

    steps: Iterator[object]  # takes one step each time it is asked
    measure: Callable[[Batch], float]  # mean loss in nats a token, without training on it
    n_parameters: int


def main() -> None:
    """Run the contestants, write their curves, print the table."""
    options = _options()
    try:
        if options.contestant:
            print(json.dumps(race(Contestant(*json.loads(options.contestant)))))
            return
        contestants = _contestants(options)
    except ValueError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
    print(_heading(options.preset, contestants[0]), flush=True)
    sizes: dict[str, int] = {}
    curves = pd.DataFrame()
    for contestant in contestants:
        command = [sys.executable, "-m", "benchmarks.time_to_loss", "--contestant", json.dumps(contestant)]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if result.returncode:
            _say(f"{contestant.name}: failed with status {result.returncode}, left out")
            continue
        done = json.loads(result.stdout.splitlines()[-1])
        sizes[contestant.name] = done["n_parameters"]
        curves = pd.concat([curves, pd.DataFrame(done["rows"], columns=COLUMNS)], ignore_index=True)
        if options.csv:
            with replacing(options.csv) as file:
                curves.to_csv(file, index=False, lineterminator="\n")
    if not sizes:
        sys.exit(1)
    by_name = {name: curves[curves["contestant"] == name] for name in sizes}
    peers = [one.name for one in contestants if one.peer_learning_rate is not None and one.name in sizes]
    best = min(peers, key=lambda name: final(by_name[name]), default=None)
    print("\n".join(table(by_name, sizes, best)))
    if options.png:
        draw(by_name, best, options.png)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--preset", default="tinystories-1m", help="a preset or a run of experiments.yaml (%(default)s)"
    )
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="an override of the preset"
    )
    parser.add_argument("--tokens", type=int, help="number of tokens to train on (that of the preset)")
    parser.add_argument(
        "--tokens-folder",
        type=Path,
        default=Path("data/tokens"),
        metavar="FOLDER",
        help="folder of train.bin, train.json, valid.bin and valid.json (%(default)s)",
    )
    parser.add_argument(
        "--every", type=int, default=25, metavar="STEPS", help="steps between validations (%(default)s)"
    )
    parser.add_argument(
        "--peer-learning-rate",
        type=float,
        nargs="+",
        default=[1e-3],
        metavar="RATE",
        help="learning rates of nanoGPT's recipe, a run for each (0.001, its own)",
    )
    parser.add_argument(
        "--compile-peer", action="store_true", help="train the peer with torch.compile, nanoGPT's default on a GPU"
    )
    parser.add_argument(
        "--adamw", type=float, nargs="?", const=3e-3, metavar="RATE", help="also run ours with AdamW (at %(const)s)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the curves to this file")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the curves in this file")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.every < 1:
        parser.error("--every must be 1 or more")
    return options


def _contestants(options: argparse.Namespace) -> list[Contestant]:
    """All contestants, ours first."""
    overrides = {key: value for text in options.set_param for key, value in parse_override(text).items()}
    if options.tokens is not None:
        overrides["train.tokens"] = options.tokens
    preset = with_overrides(select(load_experiments(EXPERIMENTS), options.preset), overrides, None)
    if len(preset.runs) > 1:
        raise ValueError(f"--preset: must name a single run, got {options.preset!r} of {len(preset.runs)}")
    parameters = preset.runs[0].parameters(load_params(PARAMS))
    # This module validates. The trainer itself validates only once, at the end, on a single window.
    quiet = {"if_diverged": "fail", "patience": None, "valid_sequences": 1, "valid_every": sys.maxsize}
    model, train = parameters["model"], parameters["train"] | quiet
    if train["precision"] == "fp16":
        raise ValueError("train.precision: must be fp32 or bf16 here, got 'fp16', for the peer scales no loss")
    folder, every = str(options.tokens_folder), options.every
    found = []
    for recipe in [{}] if options.adamw is None else [{}, {"optimizer": "adamw", "learning_rate": options.adamw}]:
        sections = {"model": model, "train": train | recipe}
        name = "storyline ({optimizer} {learning_rate:g})".format_map(sections["train"])
        found.append(Contestant(name, None, False, sections, parameters["seed"], folder, every))
    for rate in options.peer_learning_rate:
        found.append(
            found[0]._replace(
                name=f"nanoGPT (adamw {rate:g})", peer_learning_rate=rate, compile_peer=options.compile_peer
            )
        )
    return list({one.name: one for one in found}.values())  # the preset may itself have AdamW


def race(contestant: Contestant) -> dict[str, Any]:
    """Train to the end. Returns the number of parameters, and a row for each validation.

    Raises:
        ValueError: when the loss is no longer a finite number.
    """
    context_length, train, n_steps = contestant.model.context_length, contestant.train, contestant.n_steps
    tokens, valid = contestant.tokens("train"), contestant.tokens("valid")
    check_same_tokenizer(str(valid.path), valid.card.tokenizer_sha256, str(tokens.path), tokens.card.tokenizer_sha256)
    windows = Windows(valid.ids, context_length).spread(len(valid.ids))
    batches = windows.split(train.part_size)
    training = storyline(contestant) if contestant.peer_learning_rate is None else nanogpt(contestant)
    rows, seconds = [], 0.0
    for step in range(1, n_steps + 1):
        start = time.perf_counter()
        next(training.steps)
        _wait()
        seconds += time.perf_counter() - start
        if step % contestant.every and step != n_steps:
            continue
        loss = sum(len(batch) * training.measure(batch) for batch in batches) / len(windows)
        if not math.isfinite(loss):
            raise ValueError(f"validation loss: must stay finite, got {loss} at step {step}")
        bits_per_byte = loss * valid.card.n_tokens / (valid.card.n_bytes * math.log(2))
        n_tokens = train.n_sequences(step) * context_length
        rows.append((contestant.name, round(seconds, 3), step, n_tokens, bits_per_byte))
        _say(f"{contestant.name}: step {step:,}, {seconds:,.1f} s, {bits_per_byte:.4f} bits per byte")
    return {"n_parameters": training.n_parameters, "rows": rows}


def _wait() -> None:
    """Wait until the device has finished all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def storyline(contestant: Contestant) -> Training:
    """Our model, as the train stage trains it."""
    keep_freed_memory()
    model, train, tokens, valid = (
        contestant.model,
        contestant.train,
        contestant.tokens("train"),
        contestant.tokens("valid"),
    )
    backend = build_backend(train, model, tokens.card.vocab_size, contestant.seed)
    windows = [Windows(each.ids, model.context_length) for each in (tokens, valid)]
    trainer = Trainer(backend, windows[0], windows[1], train, contestant.seed)
    _say(f"{contestant.name}: {', '.join(backend.compute_report.words)}")
    size = n_parameters(model, tokens.card.vocab_size)
    return Training(trainer.run(), lambda batch: backend.measure(batch).loss, size)


def nanogpt(contestant: Contestant) -> Training:
    """nanoGPT's recipe, as the head of this module describes it."""
    from transformers import AutoModelForCausalLM, GPT2Config

    assert contestant.peer_learning_rate is not None
    peak, n_steps = contestant.peer_learning_rate, contestant.n_steps
    model, train, tokens = contestant.model, contestant.train, contestant.tokens("train")
    device = choose_device(train.device)
    precision, _ = choose_precision(train, device)
    if train.threads:
        torch.set_num_threads(train.threads)
    torch.manual_seed(contestant.seed)
    config = GPT2Config(
        vocab_size=tokens.card.vocab_size,
        n_positions=model.context_length,
        n_embd=model.d_model,
        n_layer=model.n_layers,
        n_head=model.n_heads,
        activation_function="gelu",  # PyTorch's, as in nanoGPT
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,  # its default ids are larger than our vocabularies
        eos_token_id=None,
        use_cache=False,
    )
    gpt = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(device)  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in gpt.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in gpt.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
        fused=True,
    )
    # Without dropout, training mode and evaluation mode are the same.
    logits = torch.compile(gpt) if contestant.compile_peer else gpt

    def loss(batch: Batch) -> torch.Tensor:
        inputs, targets = (torch.from_numpy(ids).to(device) for ids in (batch.inputs, batch.targets))
        with autocast(device, precision):
            return cross_entropy(logits(input_ids=inputs).logits.flatten(0, 1), targets.flatten())

    def steps() -> Iterator[None]:
        windows = Windows(tokens.ids, model.context_length)
        for step in range(n_steps):
            n_parts = train.n_parts(step)
            drawn = windows.draw(contestant.seed, train.n_sequences(step), n_parts * train.part_size)
            for part in drawn.split(train.part_size):
                (loss(part) / n_parts).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    step,
                    kind="cosine",
                    peak=peak,
                    final=0.1,
                    n_steps=n_steps,
                    n_warmup_steps=min(100, n_steps // 20),
                    decay_fraction=0.0,
                )
            optimizer.step()
            optimizer.zero_grad()
            yield

    @torch.no_grad()
    def measure(batch: Batch) -> float:
        return loss(batch).item()

    return Training(steps(), measure, sum(p.numel() for p in gpt.parameters()))


def draw(curves: dict[str, pd.DataFrame], best_peer: str | None, path: Path) -> None:
    """Bits per byte by time: on a logarithmic axis, equal distances are equal ratios."""
    figure, axes = new_figure("Time to a loss", "seconds of training", "bits per byte of validation text")
    names = []
    for (name, curve), colour in zip(curves.items(), colours(len(curves)), strict=True):
        axes.plot(curve["seconds"], curve["bits_per_byte"], color=colour, marker="o", markersize=3)
        names.append((final(curve), name, colour))
        if name == best_peer:
            axes.axhline(final(curve), color=colour, linestyle=":", linewidth=1)
    log_axis(axes, "x")
    plain_axis(axes, "y")
    name_ends(axes, names)
    save_figure(figure, path)


def table(curves: dict[str, pd.DataFrame], sizes: dict[str, int], best_peer: str | None) -> Iterator[str]:
    """The lines of the table, a row for each contestant."""
    target = final(curves[best_peer]) if best_peer else math.nan
    peer_seconds = seconds_to(target, curves[best_peer]) if best_peer else None
    yield f"\n| | parameters | tokens/s | final bits per byte | seconds to {target:.4f} bits per byte | ratio |"
    yield "|---|---|---|---|---|---|"
    for name, curve in curves.items():
        seconds = seconds_to(target, curve)
        cells = [
            f"{sizes[name]:,}",
            f"{curve['tokens'].iloc[-1] / curve['seconds'].iloc[-1]:,.0f}",
            f"{final(curve):.4f}",
            f"{seconds:,.1f}" if seconds else "not reached",
            f"{peer_seconds / seconds:.2f}" if peer_seconds and seconds else "",
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def final(curve: pd.DataFrame) -> float:
    """Bits per byte at the end."""
    return float(curve["bits_per_byte"].iloc[-1])


def seconds_to(target: float, curve: pd.DataFrame) -> float | None:
    """The time when a curve first reached a value, interpolated; None if it never did."""
    seconds, values = curve["seconds"].to_numpy(), curve["bits_per_byte"].to_numpy()
    reached = np.flatnonzero(values <= target)
    if len(reached) == 0:
        return None
    here = reached[0]
    if here == 0:
        return float(seconds[0])
    share = (values[here - 1] - target) / (values[here - 1] - values[here])
    return float(seconds[here - 1] + share * (seconds[here] - seconds[here - 1]))


def _heading(preset: str, ours: Contestant) -> str:
    model, train, device = ours.model, ours.train, choose_device(ours.train.device)
    where = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return (
        f"torch {torch.__version__}, transformers {version('transformers')}; {choose_precision(train, device)[0]}, "
        f"{train.threads or torch.get_num_threads()} threads, {machine()}{where}; "
        f"{preset}: {ours.n_steps:,} steps of {train.batch_size} x {model.context_length} tokens"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
