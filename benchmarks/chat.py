"""How soon a chat model answers: the time to the first token, and the time of each further one.

    python -m benchmarks.chat                                    models/chat, with PyTorch and with NumPy
    python -m benchmarks.chat models/chat --weights bf16 --rounds 50
    python -m benchmarks.chat --backend numpy --json figures.json

Each round asks for one answer, from the messages as text to the tokens as text, as the terminal and the server do. A
short conversation is one question. A full one is so long that the oldest turns no longer fit into the context. The
conversations take turns, so that a machine whose speed drifts is fair to both. The columns:

    prompt         tokens that the model reads before it answers
    first token    from the message to the first token, milliseconds: the median of the rounds, and the slowest
    a token        from one token to the next, milliseconds: the median of all, and the 99th percentile
    CPU            processor milliseconds for each token, of all cores together: other programs disturb it less
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.corpus.dialogue import Message
from lm.generation.conversation import answer_text, fitted_prompt, reply
from lm.generation.load import Trained, load_trained
from lm.generation.sampling import Sampling
from lm.system.memory import keep_freed_memory
from lm.training.timing import machine

QUESTION = Message("user", "Tell me a story with the words dragon and cake.")
ANSWER = Message("assistant", "Once upon a time, a little dragon lived in a cave. One day, the dragon made a cake.")
SAMPLING = Sampling(temperature=0.7, top_p=0.95)


class Answered(NamedTuple):
    """When the tokens of an answer came, in seconds after the message, and the seconds of all processor cores."""

    times_s: list[float]
    cpu_s: float


def main() -> None:
    """Print a table, with a row for each backend and length of conversation."""
    options = _options()
    keep_freed_memory()
    print(f"{options.model}, {options.weights}, {machine()}; {options.rounds} rounds\n")
    print("| backend | conversation | prompt | first token, ms | a token, ms | CPU, ms |\n|---|---|---|---|---|---|")
    rows = []
    for backend in options.backend:
        trained = load_trained(
            options.model, backend=backend, weights=options.weights if backend == "torch" else "fp32", device="cpu"
        )
        for row in measure(trained, options.rounds, options.new):
            rows.append({"backend": backend, **row})
            print(as_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(trained: Trained, rounds: int, n_new: int) -> list[dict[str, Any]]:
    """The figures of a short conversation and of a full one."""
    context_length = trained.card.config.context_length
    full = [QUESTION]
    while not fitted_prompt(trained.tokenizer, full, context_length).n_dropped:
        full = [QUESTION, ANSWER, *full]
    conversations = {"short": [QUESTION], "full": full}
    for messages in conversations.values():
        answer(trained, messages, n_new, seed=0)  # the libraries set themselves up
    answers: dict[str, list[Answered]] = {name: [] for name in conversations}
    for seed in range(rounds):
        for name, messages in conversations.items():
            answers[name].append(answer(trained, messages, n_new, seed))
    return [
        {
            "conversation": name,
            "prompt": len(fitted_prompt(trained.tokenizer, conversations[name], context_length).ids),
            **figures(answers[name]),
        }
        for name in conversations
    ]


def answer(trained: Trained, messages: list[Message], n_new: int, seed: int) -> Answered:
    """The times of one answer of at most `n_new` tokens."""
    model, tokenizer, card = trained
    start, cpu_start = time.perf_counter(), time.process_time()
    prompt = fitted_prompt(tokenizer, messages, card.config.context_length)
    events = reply(model, tokenizer, [prompt], SAMPLING, max_new_tokens=n_new, seed=seed)
    # Each event gives one piece of text, which may be empty; the last event is the end.
    times_s = [time.perf_counter() - start for _ in answer_text(tokenizer, events)]
    return Answered(times_s, time.process_time() - cpu_start)


def figures(answers: list[Answered]) -> dict[str, float]:
    """Medians, extremes and sums over the rounds."""
    first_ms = 1000 * np.array([one.times_s[0] for one in answers])
    between_ms = 1000 * np.concatenate([np.diff(one.times_s) for one in answers])
    if not between_ms.size:
        raise SystemExit("error: no answer has two tokens; ask for more with --new, or train the model for longer")
    return {
        "first_token_ms": float(np.median(first_ms)),
        "first_token_slowest_ms": float(first_ms.max()),
        "token_ms": float(np.median(between_ms)),
        "token_99_ms": float(np.percentile(between_ms, 99)),
        "cpu_ms": 1000 * sum(one.cpu_s for one in answers) / sum(len(one.times_s) for one in answers),
    }


def as_line(row: dict[str, Any]) -> str:
    """A row of the Markdown table."""
    return (
        f"| {row['backend']} | {row['conversation']} | {row['prompt']} "
        f"| {row['first_token_ms']:.1f}, {row['first_token_slowest_ms']:.1f} "
        f"| {row['token_ms']:.1f}, {row['token_99_ms']:.1f} | {row['cpu_ms']:.1f} |"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=Path("models/chat"), help="its folder (%(default)s)")
    parser.add_argument("--backend", nargs="+", choices=["torch", "numpy"], default=["torch", "numpy"])
    parser.add_argument("--weights", choices=["fp32", "bf16", "int8", "int4"], default="fp32", help="with PyTorch")
    parser.add_argument("--new", type=int, default=60, help="new tokens of an answer, at most (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="answers of each kind (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
