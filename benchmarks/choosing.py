"""What it costs to choose the next tokens, in milliseconds of processor time.

    python -m benchmarks.choosing
    python -m benchmarks.choosing --rows 1 --vocab-size 10000

The logits are random normal numbers with a standard deviation: at 1 they are nearly flat, so that half of the
vocabulary belongs to a nucleus; at 4 a few tokens hold most of the probability, as in a trained model.
"""

import argparse
import statistics
import time

import numpy as np

from lm.generation.sampling import GREEDY, Sampling, choose
from lm.system.memory import keep_freed_memory

WAYS = {
    "greedy": GREEDY,
    "temperature": Sampling(temperature=0.8),
    "top_k 40": Sampling(temperature=0.8, top_k=40),
    "top_p 0.95": Sampling(temperature=0.8, top_p=0.95),
    "top_k 200, top_p 0.9": Sampling(top_k=200, top_p=0.9),
    "min_p 0.05": Sampling(min_p=0.05),
    "typical_p 0.9": Sampling(typical_p=0.9),
}
DEVIATIONS = (1, 2, 4)


def main() -> None:
    """Print a row for each way to choose."""
    options = _options()
    keep_freed_memory()
    generator = np.random.default_rng(0)
    size = (options.rows, options.vocab_size)
    print(f"{options.rows} rows of {options.vocab_size:,} logits, CPU ms; median of {options.rounds}")
    print("way".ljust(24), *(f"deviation {deviation}".rjust(12) for deviation in DEVIATIONS))
    for name, sampling in WAYS.items():
        costs = []
        for deviation in DEVIATIONS:
            logits = generator.normal(0, deviation, size).astype(np.float32)
            times = []
            for _ in range(options.rounds):
                uniform = generator.random(options.rows)
                start = time.process_time()
                choose(logits, sampling, uniform)
                times.append(time.process_time() - start)
            costs.append(statistics.median(times) * 1e3)
        print(name.ljust(24), *(f"{cost:12.2f}" for cost in costs), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32, help="texts at once (%(default)s)")
    parser.add_argument("--vocab-size", type=int, default=50_257, help="tokens to choose from (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each is measured (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
