"""The speed of generation with our model and with transformers, at equal sizes in one run.

    python -m benchmarks.generation                                   all cases on this machine
    python -m benchmarks.generation --batch 1 --prompt 16 --rounds 3  fewer
    python -m benchmarks.generation --case-filter 'int|bf16' --json figures.json
    python -m benchmarks.generation --device cuda --batch 1 64 --model gpt-124m

The model is one of `benchmarks.training_peers` with random weights, and transformers' model is of the same size.
Prompts are random ids. Each text gets `--new` tokens, drawn with temperature 0.8 and top-p 0.95. Each case runs in its
own process, and the cases take turns, so that a machine whose speed drifts is fair to all. `compiled` is transformers'
static cache with torch.compile; its first call, which compiles, is not counted. On a CPU, llama.cpp reads the same
model from an export (int8 is its q8_0), and takes part with one text at a time where `llama-cpp-python` is installed.
The columns:

    first token    seconds until the first token of all texts
    tokens/s       of all texts together, prompts included in the time; the median of the rounds
    bandwidth      bytes of the matrices that each step reads, over the time, as a share of a large read in the process
    memory         the most that the process has used, with the libraries it imports; on a GPU, that of tensors there
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.training_peers import SIZES, Size, installed, peer_config
from lm.config.export import Dtype
from lm.config.weights import Weights
from lm.exchange.rewrites import Model
from lm.generation.events import Token
from lm.generation.generate import generate
from lm.generation.sampling import Sampling
from lm.model.reader import Reader
from lm.model.transformer import Transformer
from lm.system.memory import keep_freed_memory, peak_memory_bytes
from lm.tokenizer.bpe import BpeTokenizer
from lm.training.timing import machine

OURS: tuple[Weights, ...] = ("fp32", "bf16", "int8", "int4")
GGUF_TYPES: dict[str, Dtype] = {"fp32": "f32", "bf16": "bf16", "int8": "q8_0"}
CASES = [
    *(f"storyline {weights}" for weights in OURS),
    *(f"transformers {weights}{how}" for weights in ("fp32", "bf16") for how in ("", " compiled")),
    *(f"llama.cpp {weights}" for weights in GGUF_TYPES),
]
SAMPLING = Sampling(temperature=0.8, top_p=0.95)
BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.625}  # a weight; int4 has a scale and a middle for 32 of them


class Run(NamedTuple):
    """What one process measures."""

    model: str
    device: str
    case: str
    batch_size: int
    prompt_length: int
    n_new: int

    @property
    def size(self) -> Size:
        """The model, with a context that no text fills."""
        size = SIZES[self.model]
        return size._replace(model={**size.model, "context_length": 2 * size.config.context_length})


def main() -> None:
    """Print a table for each batch size and prompt length."""
    options = _options()
    if options.run:
        print(json.dumps(measure(Run(*json.loads(options.run)))))
        return
    on_gpu = options.device == "cuda"
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads, {machine()}"
    print(f"{options.model}; torch {torch.__version__}, {where}; medians of {options.rounds} rounds")
    cases = [case for case in CASES if re.search(options.case_filter, case)]
    if on_gpu:
        cases = [case for case in cases if "int" not in case and not case.startswith("llama.cpp")]
    for package, name in (("transformers", "transformers"), ("llama_cpp", "llama.cpp")):
        if not installed(package):
            cases = [case for case in cases if not case.startswith(name)]
    figures = []
    for prompt_length in options.prompt:
        for batch_size in options.batch:
            possible = [case for case in cases if batch_size == 1 or not case.startswith("llama.cpp")]
            runs = [
                Run(options.model, options.device, case, batch_size, prompt_length, options.new) for case in possible
            ]
            rounds = [[_in_a_process(run) for run in runs] for _ in range(options.rounds)]
            rows = [
                dict(run._asdict()) | _median(of_case)
                for run, of_case in zip(runs, zip(*rounds, strict=True), strict=True)
            ]
            print("\n".join(table(rows)), flush=True)
            figures += rows
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(run: Run) -> dict[str, float]:
    """The figures of one process."""
    keep_freed_memory()
    library, weights, *how = run.case.split()
    generator = np.random.Generator(np.random.Philox(key=0))
    size = run.size
    prompts = generator.integers(0, size.vocab_size, (run.batch_size, run.prompt_length)).tolist()
    build = {"storyline": _storyline, "transformers": _transformers, "llama.cpp": _llama_cpp}[library]
    write = build(run, weights, prompts, compiled=bool(how))
    write(run.n_new if how else 8)  # libraries set themselves up, and the compiler compiles
    start = time.perf_counter()
    write(1)
    first = time.perf_counter() - start
    start = time.perf_counter()
    n_written = write(run.n_new)
    elapsed, on_gpu = time.perf_counter() - start, run.device == "cuda"
    tables = {"position_embedding.weight"} | (set() if size.config.tie_embeddings else {"embedding.weight"})
    model = Transformer(size.config, size.vocab_size)
    multiplied = sum(n.numel() for name, n in model.named_parameters() if name not in tables)
    return {
        "first_token_s": first,
        "tokens_per_s": n_written / elapsed,
        "bandwidth": multiplied * BYTES[weights] * run.n_new / elapsed / read_bytes_per_s(run.device),
        "memory_bytes": float(torch.cuda.max_memory_allocated() if on_gpu else peak_memory_bytes() or 0),
    }


def read_bytes_per_s(device: str) -> float:
    """How fast this process reads a large array, which no cache holds: the best of five reads."""
    array = torch.ones(2**26 if device == "cpu" else 2**29, device=device)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        array.sum().item()
        times.append(time.perf_counter() - start)
    return array.nbytes / min(times)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    first = rows[0]
    lines = [
        f"\nbatch {first['batch_size']}, prompts of {first['prompt_length']}, {first['n_new']} new tokens\n",
        "| | first token, s | tokens/s | bandwidth | memory, MiB |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {row['case']} | {row['first_token_s']:.3f} | {row['tokens_per_s']:,.0f} | {row['bandwidth']:.0%} | "
        f"{row['memory_bytes'] / 2**20:,.0f} |"
        for row in rows
    ]


def _storyline(run: Run, weights: str, prompts: list[list[int]], *, compiled: bool) -> Callable[[int], int]:
    assert weights in OURS
    reader = Reader(Transformer(run.size.config, run.size.vocab_size).to(run.device), weights)

    def write(n_new: int) -> int:
        never = run.size.vocab_size  # no token has this id, so no text ends itself
        events = generate(reader, prompts, SAMPLING, max_new_tokens=n_new, end_id=never, seed=0)
        return sum(isinstance(event, Token) for event in events)

    return write


def _transformers(run: Run, weights: str, prompts: list[list[int]], *, compiled: bool) -> Callable[[int], int]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(peer_config(run.size, use_cache=True))  # type: ignore[no-untyped-call]
    model.to(run.device)
    model.eval()
    if weights == "bf16":
        model.bfloat16()
    ids = torch.tensor(prompts, device=run.device)
    static: dict[str, Any] = {"cache_implementation": "static"} if compiled else {}
    if compiled and run.device == "cpu":
        model.forward = torch.compile(model.forward)  # elsewhere `generate` compiles by itself

    def write(n_new: int) -> int:
        torch.manual_seed(0)
        with torch.no_grad():
            texts = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=SAMPLING.temperature,
                top_p=SAMPLING.top_p,
                top_k=0,
                min_new_tokens=n_new,
                max_new_tokens=n_new,
                pad_token_id=0,
                eos_token_id=None,
                **static,
            )
        return int(texts[:, ids.shape[1] :].numel())

    return write


def _llama_cpp(run: Run, weights: str, prompts: list[list[int]], *, compiled: bool) -> Callable[[int], int]:
    from llama_cpp import Llama

    from lm.exchange.export import export_gguf

    (prompt,) = prompts
    size = run.size
    model = Transformer(size.config, size.vocab_size)
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "gguf"
        export_gguf(place, Model(size.config, arrays), _any_tokenizer(size.vocab_size), GGUF_TYPES[weights], "m")
        theirs = Llama(
            str(place / f"m-{GGUF_TYPES[weights]}.gguf"),
            n_ctx=size.config.context_length,
            n_threads=torch.get_num_threads(),
            n_threads_batch=torch.get_num_threads(),
            use_mmap=False,
            verbose=False,
        )

    def write(n_new: int) -> int:
        theirs.reset()
        how = {"temp": SAMPLING.temperature, "top_p": SAMPLING.top_p, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
        return sum(1 for _ in islice(theirs.generate(prompt, **how), n_new))

    return write


def _any_tokenizer(vocab_size: int) -> BpeTokenizer:
    """A tokenizer of the size of the vocabulary. Prompts are ids, so what its tokens are does not matter."""
    tokens = [b"<|endoftext|>", *(bytes([byte]) for byte in range(256))]
    pairs = list(islice(product(range(1, 257), range(1, 257)), vocab_size - len(tokens)))
    tokens += [tokens[left] + tokens[right] for left, right in pairs]
    return BpeTokenizer(tokens, pairs, {"<|endoftext|>": 0})


def _in_a_process(run: Run) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.generation", "--run", json.dumps(run)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"error: {run.case}: {result.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def _median(rounds: tuple[dict[str, float], ...]) -> dict[str, float]:
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="llama-22.7m", help="the size of the model (%(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda if there is one")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32], help="texts at once (%(default)s)")
    parser.add_argument("--prompt", type=int, nargs="+", default=[16, 200], help="tokens of a prompt (%(default)s)")
    parser.add_argument("--new", type=int, default=256, help="new tokens of each text (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured (%(default)s)")
    parser.add_argument("--case-filter", metavar="REGEX", default="", help="measure only cases whose names fit")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


if __name__ == "__main__":
    main()
