"""The speed of whole training steps of our model and of its peers from PyPI, at equal sizes in one run.

    pip install '.[dev]'
    pip install --no-deps litgpt lightning lightning-utilities torchmetrics
    python -m benchmarks.training                                          all sizes, all cases
    python -m benchmarks.training --model llama-22.7m --json figures.json
    python -m benchmarks.training --case-filter 'storyline|litgpt' --precision fp32
    python -m benchmarks.training --model small-1.3m --profile             where our step spends its time

litgpt is installed without its dependencies, because it asks for an older huggingface_hub than transformers needs. A
peer that is not installed is left out. The head of `benchmarks.training_peers` says what a step is, and how the peers
are set up.

A case is a library, with or without `torch.compile`. Each case runs in its own process, on new random ids in every
step. The cases take turns, so that a machine whose speed drifts is fair to all. The columns:

    tokens/s       of the median step of a round, without the first quarter (warm-up); the median of the rounds
    / best peer    speed over that of the fastest peer in the same round; in brackets the range of the rounds
    MFU            tokens/s times the FLOPs of a token, over the FLOP/s that the machine can do: on a GPU in half
                   precision those of its data sheet (`lm.training.utilisation`), otherwise those of a large square
                   matrix product, which takes turns with the cases. A token has 6 N + 12 L D T FLOPs: N parameters
                   that are multiplied (a lookup is not), L layers, D = d_model, T = context_length; PaLM, appendix B,
                   https://arxiv.org/abs/2204.02311. FLOPs that a causal mask could save are counted too.
    peak memory    of the process, with the libraries it imports and the compiler; on a GPU, of PyTorch's tensors
    first step     of the first round, with compilation, because the caches of the compiler are empty then

Ours runs with the allocator that the train stage sets, and the peers run without it; to give it to all:

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 python -m benchmarks.training
"""

import argparse
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.training_peers import ENGINES, SIZES, Setting, Size, Training, installed
from lm.formats.parameters import parameter_table
from lm.system.devices import Precision
from lm.training.compute import has_fast_half
from lm.training.timing import machine
from lm.training.utilisation import gpu_peak

PEAK = "matrix product"
OURS = "storyline"
COMPILED = ", compiled"

# An operator belongs to a group of CALLERS if its own name or that of a caller fits, otherwise to the first group of
# OPERATORS that fits its own name. In our model only attention has batched products, and only clipping has norms of
# vectors.
CALLERS = {
    "optimizer": r"^Optimizer\.|linalg_vector_norm",
    "attention": r"scaled_dot_product|flash|attention|MathKernel|bmm|::_softmax",
}
OPERATORS = {
    "matrix products": r"^aten::(addmm|mm|linear|matmul)|mkldnn|gemm",
    "pointwise": r"^aten::(_?to|_?to_copy|copy|add|sub|rsub|mul|div|neg|exp|log|r?sqrt|pow|square|mean|sum|var|norm|"
    r"native_layer_norm|_fused_rms_norm|rms_norm|gelu|silu|relu|sigmoid|tanh|threshold|cat|stack|where|masked_fill|"
    r"fill|zero|lerp|addc(mul|div)|argmax|max|eq|lt|clamp|logsumexp|nll_loss|_log_softmax)_?(_backward)?(\.|$)",
}


class Case(NamedTuple):
    """What one process measures."""

    model: str
    name: str
    device: str
    precision: Precision
    n_steps: int

    @property
    def size(self) -> Size:
        """The model and its batch."""
        return SIZES[self.model]

    def build(self) -> Training:
        """The model in training."""
        engine = ENGINES[self.name.removesuffix(COMPILED)]
        return engine(self.size, Setting(torch.device(self.device), self.precision, self.name.endswith(COMPILED)))


def main() -> None:
    """Print a table for each model."""
    options = _options()
    if options.case:
        case = Case(*json.loads(options.case))
        print("\n".join(profile_step(case)) if options.profile else json.dumps(measure(case)))
        return
    if options.profile:
        for model in options.model:
            case = Case(model, OURS, options.device, options.precision, options.steps)
            print(_run(case, {}, "--profile"))
        return
    print(_heading(options), flush=True)
    figures: dict[str, Any] = {}
    for model in options.model:
        figures[model] = measure_model(model, options)
        if options.json:
            options.json.write_text(json.dumps({"about": _heading(options), "models": figures}, indent=2) + "\n")
        print("\n".join(table(model, figures[model], _data_sheet_gflops(options))), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=SIZES, help="sizes to measure (all; on a CPU those for one)")
    parser.add_argument("--case-filter", metavar="REGEX", default="", help="measure only cases whose names fit")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda if there is one")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        help="precision of matrix products, by autocast (bf16 on a GPU and a CPU with instructions for it, else fp32)",
    )
    parser.add_argument("--steps", type=int, default=16, help="steps a round, two or more (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round to this file")
    parser.add_argument(
        "--profile", action="store_true", help="show one step of ours by operator, instead of the tables"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 2 or options.rounds < 1:
        parser.error("--steps must be 2 or more, --rounds 1 or more")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    options.precision = options.precision or ("bf16" if has_fast_half(torch.device(options.device)) else "fp32")
    options.model = options.model or [
        name for name, size in SIZES.items() if options.device == "cuda" or not size.large
    ]
    return options


def _data_sheet_gflops(options: argparse.Namespace) -> float | None:
    if options.device != "cuda" or options.precision == "fp32":
        return None
    peak = gpu_peak(torch.cuda.get_device_name())
    return peak and peak / 1e9


def measure(case: Case) -> dict[str, float]:
    """The measurements of a case, in this process."""
    return {"gflops": peak_gflops(case)} if case.name == PEAK else measure_steps(case)


def measure_steps(case: Case) -> dict[str, float]:
    """Speed, memory and first step of a model in training."""
    training = case.build()
    times_s, losses = [], []
    for windows in _batches(case):
        _wait(case.device)
        start = time.perf_counter()
        losses.append(training.step(windows))
        _wait(case.device)
        times_s.append(time.perf_counter() - start)
    n_tokens = case.size.batch_size * case.size.config.context_length
    return {
        "tokens_per_s": n_tokens / statistics.median(times_s[max(1, case.n_steps // 4) :]),
        "first_step_s": times_s[0],
        "peak_memory_mib": _peak_memory(case.device) / 2**20,
        "n_parameters": training.n_parameters,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def peak_gflops(case: Case) -> float:
    """The fastest product of two large square matrices within a second."""
    n = 8192 if case.device == "cuda" else 2048
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    a, b, out = (torch.randn(n, n, device=case.device).to(dtype) for _ in range(3))
    times_s: list[float] = []
    while sum(times_s) < 1 or len(times_s) < 5:
        _wait(case.device)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        _wait(case.device)
        times_s.append(time.perf_counter() - start)
    return 2 * n**3 / min(times_s) / 1e9


def flops_per_token(size: Size) -> int:
    """Forward and backward: 6 N + 12 L D T, as the head of this module says."""
    config = size.config
    head = "embedding.weight" if config.tie_embeddings else "head.weight"
    table = parameter_table(config, size.vocab_size)
    n = sum(math.prod(spec.shape) for name, spec in table.items() if spec.role == "hidden" or name == head)
    return 6 * n + 12 * config.n_layers * config.d_model * config.context_length


def measure_model(model: str, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """The measurements of each case of a model, by rounds. A case that fails is reported and left out."""
    names = [engine + suffix for engine in ENGINES if installed(engine) for suffix in ("", COMPILED)]
    names = [PEAK, *(name for name in names if re.search(options.case_filter, name))]
    done: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for i, name in enumerate(names):
                if name not in done:
                    continue
                # Each case has its own caches of the compiler, so that no case profits from the work of another.
                caches = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/{i}"}
                case = Case(model, name, options.device, options.precision, options.steps)
                try:
                    result = json.loads(_run(case, caches).splitlines()[-1])
                except subprocess.CalledProcessError as error:
                    print(f"{model}, {name}: failed with status {error.returncode}", file=sys.stderr)
                    del done[name]
                    continue
                done[name].append(result)
                print(f"{model}, {name}:", *(f"{k} {v:,.2f}" for k, v in result.items()), file=sys.stderr, flush=True)
    return done


def table(model: str, done: dict[str, list[dict[str, float]]], data_sheet_gflops: float | None = None) -> Iterator[str]:
    """The lines of a model's table."""
    size, cost, done = SIZES[model], flops_per_token(SIZES[model]), dict(done)
    product = _median(done.pop(PEAK), "gflops")
    peak = data_sheet_gflops or product
    yield f"\n## {model}: batch {size.batch_size} x {size.config.context_length}, vocabulary {size.vocab_size:,}\n"
    sheet = f"; the data sheet says {data_sheet_gflops:,.0f}" if data_sheet_gflops else ""
    yield f"{cost / 1e6:,.1f} MFLOP a token; a large square matrix product runs at {product:,.0f} GFLOP/s{sheet}.\n"
    yield "| | parameters | tokens/s | / best peer | MFU | peak memory, MiB | first step, s |"
    yield "|---|---|---|---|---|---|---|"
    peers = [name for name in done if not name.startswith(OURS)]
    best = max(peers, key=lambda name: _median(done[name], "tokens_per_s"), default=None)
    for name, rounds in done.items():
        speed = _median(rounds, "tokens_per_s")
        cells = [
            f"{rounds[0]['n_parameters']:,.0f}",
            f"{speed:,.0f}",
            _ratio(rounds, done[best]) if best else "",
            f"{speed * cost / peak / 1e9:.0%}",
            f"{_median(rounds, 'peak_memory_mib'):,.0f}",
            f"{rounds[0]['first_step_s']:.1f}",
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _ratio(rounds: list[dict[str, float]], others: list[dict[str, float]]) -> str:
    """The speed divided by that of another case in the same round."""
    ratios = sorted(a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(rounds, others, strict=True))
    median = f"{statistics.median(ratios):.2f}"
    return f"{median} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if rounds is not others and len(ratios) > 1 else median


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def profile_step(case: Case) -> Iterator[str]:
    """The lines of two tables: the time of one step by group, and by operator."""
    training = case.build()
    *warm_up, last = _batches(case)
    for windows in warm_up:
        training.step(windows)
    cuda = [ProfilerActivity.CUDA] if case.device == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiler:
        training.step(last)
        _wait(case.device)
    by_group, by_operator = _times(profiler.events() or [], "device" if cuda else "cpu")
    total = by_group.total()
    yield f"## {case.model}: one step of ours, {case.precision}, {total / 1000:,.1f} ms in operators\n"
    yield "| group | share |\n|---|---|"
    yield from (f"| {group} | {time_us / total:.1%} |" for group, time_us in by_group.most_common())
    yield "\n| operator | group | calls | share |\n|---|---|---|---|"
    for (name, group), (time_us, n_calls) in sorted(by_operator.items(), key=lambda item: -item[1][0])[:15]:
        yield f"| {name} | {group} | {n_calls} | {time_us / total:.1%} |"


def _times(events: Iterable[FunctionEvent], kind: str) -> tuple[Counter[str], dict[tuple[str, str], tuple[float, int]]]:
    """The microseconds of the operators themselves by group; and the same by name and group, with their calls."""
    by_group: Counter[str] = Counter()
    by_operator: dict[tuple[str, str], tuple[float, int]] = {}
    for event in events:
        if event.device_type.name != "CPU":
            continue  # a kernel: its time counts with the operator that launched it
        time_us, group = getattr(event, f"self_{kind}_time_total"), _group(event)
        before_us, n_calls = by_operator.get((event.name, group), (0.0, 0))
        by_operator[event.name, group] = before_us + time_us, n_calls + 1
        by_group[group] += time_us
    return by_group, by_operator


def _group(event: FunctionEvent) -> str:
    """The group of an operator, by its callers' names or its own."""
    caller: FunctionEvent | None = event
    while caller is not None:
        for group, pattern in CALLERS.items():
            if re.search(pattern, caller.name):
                return group
        caller = caller.cpu_parent
    return next((group for group, pattern in OPERATORS.items() if re.search(pattern, event.name)), "other")


def _batches(case: Case) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Random ids for each step."""
    generator = np.random.Generator(np.random.Philox(0))
    shape = (case.size.batch_size, case.size.config.context_length + 1)
    for _ in range(case.n_steps):
        yield generator.integers(0, case.size.vocab_size, shape)


def _wait(device: str) -> None:
    """Wait until the device has finished all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def _peak_memory(device: str) -> int:
    """The most memory in use so far, in bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _run(case: Case, variables: dict[str, str], *flags: str) -> str:
    """What this module prints about a case, in its own process."""
    command = [sys.executable, "-m", "benchmarks.training", "--case", json.dumps(case), *flags]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | variables)
    return result.stdout.strip()


def _heading(options: argparse.Namespace) -> str:
    libraries = ("torch", *(engine for engine in ENGINES if engine != OURS and installed(engine)))
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    where = f", {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    return (
        f"{versions}; {options.precision}, {torch.get_num_threads()} threads, {machine()}{where}; "
        f"medians of {options.rounds} rounds of {options.steps} steps"
    )


if __name__ == "__main__":
    main()
