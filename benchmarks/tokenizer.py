"""Speed and memory of our tokenizer beside those of others, as Markdown tables.

    pip install '.[bench]'
    python -m benchmarks.tokenizer --tinystories FILE --openwebtext FILE --out docs/results/tokenizer-speed.md

The files are corpora as the download stage writes them (`data/raw/train.txt`). Real text is repeated to get enough of
it; other text is made up (see `benchmarks.texts`). Every measurement is a process of its own; those that are compared
take turns, and the median of the rounds counts; the slowest is measured once. Time runs from the call to the file on
disk, without the start of Python. Memory is the largest sum over all processes of one measurement, looked at 50 times a
second.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.texts import invent, repeat
from benchmarks.tokenizer_peers import ENCODERS, TRAINERS, VOCAB_SIZE
from lm.system.processes import n_cores

MEGABYTE = 10**6
ONCE = "nanoGPT's datasets.map"


class Measurement(NamedTuple):
    """What one process did."""

    seconds: float
    memory_bytes: int  # of all its processes together
    largest_bytes: int  # of the largest of them
    result: str  # the hash of what it wrote


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tinystories", type=Path, required=True, metavar="FILE", help="corpus of short stories")
    parser.add_argument("--openwebtext", type=Path, required=True, metavar="FILE", help="corpus of web pages")
    parser.add_argument("--small", type=int, default=10, metavar="MB", help="smallest size to train on (%(default)s)")
    parser.add_argument("--size", type=int, default=300, metavar="MB", help="largest size to train on (%(default)s)")
    parser.add_argument("--encode", type=int, default=100, metavar="MB", help="size to encode (%(default)s)")
    parser.add_argument("--large", type=int, default=3000, metavar="MB", help="size to show memory on (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (%(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="to keep the texts in, and find them there again")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="Markdown to write")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(exist_ok=True)
        real = {"TinyStories": options.tinystories, "OpenWebText": options.openwebtext}
        for corpus, source in real.items():
            if not (folder / corpus).exists():
                repeat(source, folder / corpus, options.encode * MEGABYTE)
        invented = {size: folder / f"invented-{size}" for size in (options.small, options.size, options.large)}
        for size, text in invented.items():
            if not text.exists():
                invent(text, size * MEGABYTE)
        lines = [
            *_heading(options),
            *_training(
                folder,
                [*real.items(), *(("made up", invented[size]) for size in (options.small, options.size))],
                options.rounds,
            ),
            *_encoding(folder, real, options.rounds),
            *_memory_table(folder, [invented[options.size], invented[options.large]]),
        ]
    options.out.write_text("\n".join(lines) + "\n")


def _heading(options: argparse.Namespace) -> list[str]:
    packages = ("numpy", "tokenizers", "tiktoken", "rustbpe", "sentencepiece", "datasets")
    return [
        "# The tokenizer's speed and memory",
        "",
        f"A command wrote the tables of this page, on {n_cores()} cores ({_processor()}):",
        "",
        f"    python -m benchmarks.tokenizer --small {options.small} --size {options.size} --encode {options.encode} "
        f"--large {options.large} --rounds {options.rounds} ...",
        "",
        f"Python {platform.python_version()}, {', '.join(f'{package} {version(package)}' for package in packages)}.",
        "The head of `benchmarks/tokenizer.py` says how each figure is measured.",
        "",
    ]


def _training(folder: Path, texts: list[tuple[str, Path]], rounds: int) -> list[str]:
    """The table of training, on all cores."""
    lines = [
        "## Training",
        "",
        f"The vocabulary is {VOCAB_SIZE:,}, and all cores work. Figures are seconds, the median of {rounds}, and in",
        "brackets the peak of memory. Our file and Hugging Face's file are equal to the last byte.",
        "",
        f"| text | MB | {' | '.join(TRAINERS)} | best other / ours |",
        "|---|---|" + "---|" * (len(TRAINERS) + 1),
    ]
    for title, text in texts:
        medians = _rounds({engine: ["train", engine, text, folder / "tokenizer"] for engine in TRAINERS}, rounds)
        ours = medians.pop("storyline")
        assert ours.result == medians["Hugging Face tokenizers"].result, "both must learn the same"
        best = min(other.seconds for other in medians.values())
        cells = [f"{m.seconds:.2f} ({m.memory_bytes / MEGABYTE:.0f} MB)" for m in (ours, *medians.values())]
        lines.append(_row(title, f"{text.stat().st_size / MEGABYTE:.0f}", *cells, f"{best / ours.seconds:.2f}"))
    return [*lines, ""]


def _encoding(folder: Path, real: dict[str, Path], rounds: int) -> list[str]:
    """The table of encoding real text, repeated, into a .bin."""
    lines = [
        "## Encoding",
        "",
        "A text file becomes a .bin of uint16, end to end. Figures are MB/s, "
        f"the median of {rounds}, and in brackets the peak of",
        "memory of all processes. The text is the real text, repeated. The tokenizer was trained on the real text.",
        "All libraries write the same bytes.",
        "",
        f"| text | MB | processes | {' | '.join(ENCODERS)} | ours / tiktoken | ours / Hugging Face |",
        "|---|---|---|" + "---|" * (len(ENCODERS) + 2),
    ]
    for corpus, source in real.items():
        tokenizer, text, out = folder / f"{corpus}.json", folder / corpus, folder / "ids.bin"
        measure("train", "storyline", source, tokenizer)
        for n in (1, 2):
            medians = _rounds({engine: ["encode", engine, text, out, tokenizer, n] for engine in ENCODERS}, rounds)
            assert len({m.result for m in medians.values()}) == 1, "all must write the same ids"
            size = text.stat().st_size / MEGABYTE
            speed = {engine: size / m.seconds for engine, m in medians.items()}
            cells = [f"{speed[engine]:.1f} ({m.memory_bytes / MEGABYTE:.0f} MB)" for engine, m in medians.items()]
            ratios = [speed["storyline"] / speed[other] for other in ("tiktoken", "Hugging Face tokenizers")]
            lines.append(_row(corpus, f"{size:.0f}", str(n), *cells, *(f"{ratio:.1f}" for ratio in ratios)))
    return [*lines, ""]


def _memory_table(folder: Path, texts: list[Path]) -> list[str]:
    """The table of our memory on texts of several sizes."""
    lines = [
        "## Memory",
        "",
        "Our tokenizer on made-up text, on all cores. Memory is the peak in MB: first of all processes together, then",
        "of the largest process.",
        "",
        "| MB | training, s | training, MB | encoding, s | encoding, MB |",
        "|---|---|---|---|---|",
    ]
    for text in texts:
        training = measure("train", "storyline", text, folder / "tokenizer")
        encoding = measure("encode", "storyline", text, folder / "ids.bin", folder / "tokenizer", n_cores())
        cells = []
        for m in (training, encoding):
            cells += [f"{m.seconds:.1f}", f"{m.memory_bytes / MEGABYTE:.0f}, {m.largest_bytes / MEGABYTE:.0f}"]
        lines.append(_row(f"{text.stat().st_size / MEGABYTE:.0f}", *cells))
    return lines


def _rounds(cases: dict[str, list[object]], rounds: int) -> dict[str, Measurement]:
    """The measurement of median time of each case, over rounds in which they take turns."""
    done: dict[str, list[Measurement]] = {name: [] for name in cases}
    for i in range(rounds):
        for name, arguments in cases.items():
            if i > 0 and name == ONCE:
                continue
            done[name].append(measure(*arguments))
            print(*arguments[:3], f"{done[name][-1].seconds:.2f} s", file=sys.stderr, flush=True)
    return {name: sorted(measurements)[len(measurements) // 2] for name, measurements in done.items()}


def measure(*arguments: object) -> Measurement:
    """Run `benchmarks.tokenizer_peers` in a process, and watch its memory."""
    command = [sys.executable, "-m", "benchmarks.tokenizer_peers", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    total = largest = 0
    while process.poll() is None:
        sizes = list(_memory(process.pid))
        total, largest = max(total, sum(sizes)), max(largest, *sizes, 0)
        time.sleep(0.02)
    assert process.stdout is not None
    output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    answer = json.loads(output.splitlines()[-1])
    return Measurement(answer["seconds"], total, largest, answer["result"])


def _memory(pid: int) -> Iterator[int]:
    """The resident memory of a process and of its descendants, in bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return
    yield from (1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    for child in (child for of_task in children for child in of_task):
        yield from _memory(int(child))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
