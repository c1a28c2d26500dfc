"""A server under load: many streams at once, none lost or mixed up; and many requests that are no good.

    python -m benchmarks.serving models/chat                  32 streams for a minute, then 1,000 malformed requests
    python -m benchmarks.serving models/chat --seconds 10     less

The server runs in its own process; `openai`'s client asks it. Each request has its own seed and its own words, and its
text must be the one that `generate` writes alone with that seed: `--checked` texts, evenly spread over all, because
each is written once more by itself. The memory of the server is noted every two seconds; `memory` has the median of
each quarter of the time.
"""

import argparse
import asyncio
import http.client
import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import psutil

from lm.corpus.dialogue import Message
from lm.generation.conversation import answer_text, fitted_prompt, reply
from lm.generation.load import Trained, load_trained
from lm.generation.sampling import Sampling
from lm.training.timing import machine

WORDS = ["fox", "lantern", "river", "kite", "owl", "cake", "boat", "drum", "snow", "garden"]
SAMPLING = Sampling(temperature=0.8, top_p=0.95)


@dataclass
class Figures:
    """What the clients have seen."""

    texts: dict[int, str] = field(default_factory=dict)  # by the seed
    first_token_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    n_tokens: int = 0
    memory_bytes: list[int] = field(default_factory=list)


def main() -> None:
    """Print the figures; the status is 1 if a text was lost or mixed up, or a malformed request not refused."""
    options = _options()
    print(f"{machine()}; {options.streams} streams for {options.seconds} seconds, {options.max_tokens} tokens at most")
    command = [sys.executable, "-m", "commands.serve", str(options.model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split("http://127.0.0.1:")[1].split()[0])
        name = options.model.resolve().name
        figures = asyncio.run(_load(port, name, psutil.Process(server.pid), options))
        statuses = [_malformed(port, name, seed) for seed in range(options.malformed)]
        server.terminate()
        _, log = server.communicate()
    print("\n".join(_report(figures, options.seconds)))
    checked = _spread(sorted(figures.texts), options.checked)
    wrong = _mixed_up(load_trained(options.model), figures, checked, options.max_tokens)
    n_refused = sum(400 <= status < 500 for status in statuses)
    print(f"texts that are not those of generate: {len(wrong)} of {len(checked)} {wrong[:3]}")
    print(f"malformed requests refused with a 4xx: {n_refused} of {len(statuses)}")
    print(f"lines in the server's log: {len(log.splitlines())}")
    sys.exit(bool(wrong or figures.failures or log or n_refused < len(statuses)))


async def _load(port: int, model: str, server: psutil.Process, options: argparse.Namespace) -> Figures:
    figures, seeds = Figures(), iter(range(10**9))
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=120)
    end = time.monotonic() + options.seconds

    async def ask_again_and_again() -> None:
        while time.monotonic() < end:
            await _ask(client, model, next(seeds), options.max_tokens, figures)

    async def watch() -> None:
        while time.monotonic() < end:
            figures.memory_bytes.append(server.memory_info().rss)
            await asyncio.sleep(2)

    await asyncio.gather(watch(), *(ask_again_and_again() for _ in range(options.streams)))
    return figures


async def _ask(client: openai.AsyncOpenAI, model: str, seed: int, max_tokens: int, figures: Figures) -> None:
    start, text = time.monotonic(), ""
    asked: Any = [{"role": "user", "content": _question(seed)}]
    try:
        stream = await client.chat.completions.create(
            model=model,
            messages=asked,
            seed=seed,
            temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p,
            max_tokens=max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.usage:
                figures.n_tokens += chunk.usage.completion_tokens
            for choice in chunk.choices:
                if choice.delta.content and not text:
                    figures.first_token_s.append(time.monotonic() - start)
                text += choice.delta.content or ""
    except openai.OpenAIError as error:
        figures.failures.append(str(error))
    else:
        figures.texts[seed] = text


def _question(seed: int) -> str:
    words = random.Random(seed).sample(WORDS, 2)
    return f"Tell me a story with the words {words[0]} and {words[1]}."


def _spread(seeds: list[int], n: int) -> list[int]:
    """So many of these, or all."""
    return [seeds[i * len(seeds) // n] for i in range(n)] if n < len(seeds) else seeds


def _mixed_up(trained: Trained, figures: Figures, seeds: list[int], max_tokens: int) -> list[int]:
    """Those of these seeds whose text is not that of `generate`."""
    wrong = []
    for seed in seeds:
        prompt = fitted_prompt(
            trained.tokenizer, [Message("user", _question(seed))], trained.card.config.context_length
        )
        events = reply(trained.model, trained.tokenizer, [prompt], SAMPLING, max_new_tokens=max_tokens, seed=seed)
        if "".join(answer_text(trained.tokenizer, events)) != figures.texts[seed]:
            wrong.append(seed)
    return wrong


def _malformed(port: int, model: str, seed: int) -> int:
    """The status of an answer to a request that is wrong in some way."""
    generator = random.Random(seed)
    good: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    body: bytes
    match generator.randrange(4):
        case 0:  # no JSON
            body = generator.randbytes(generator.randrange(1, 200))
        case 1:  # JSON that is cut off
            whole = json.dumps(good).encode()
            body = whole[: generator.randrange(len(whole))]
        case 2:  # a value of a wrong kind
            name = generator.choice([*good, "temperature", "top_p", "n", "stop", "seed", "stream"])
            body = json.dumps(good | {name: generator.choice([{}, [[]], {"a": 1}, -1e9, [None, 1]])}).encode()
        case _:  # a field that nobody knows
            body = json.dumps(good | {f"field {seed}": generator.random()}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def _report(figures: Figures, seconds: float) -> list[str]:
    waits, n = sorted(figures.first_token_s), len(figures.memory_bytes)
    quarters = [figures.memory_bytes[n * k // 4 : n * (k + 1) // 4] for k in range(4)]
    megabytes = [f"{statistics.median(of_one) / 2**20:.0f}" for of_one in quarters if of_one]
    return [
        f"texts finished {len(figures.texts)}, failed {len(figures.failures)} {figures.failures[:3]}",
        f"tokens/s of all streams {figures.n_tokens / seconds:.0f}",
        f"first token, ms: median {1000 * statistics.median(waits):.0f}, of 100 the slowest "
        f"{1000 * waits[int(0.99 * len(waits))]:.0f}",
        f"memory, MiB, in each quarter of the time: {', '.join(megabytes)}",
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a chat model")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=500, help="texts that are written once more (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
