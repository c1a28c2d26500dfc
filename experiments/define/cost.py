"""What the training of runs costs: how long it takes on this machine, and the memory that it needs at least."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.parameters import parameter_table
from lm.training.estimate import expected_s, least_bytes, training_flops
from lm.training.timing import in_words


def cost_in_words(runs: Iterable[Mapping[str, Any]], timings: Path) -> str:
    """The time of all trainings one after another, and the memory of the largest.

    `runs` are the parameters of each. The time is scaled from runs that were timed on this machine, whose notes lie in
    `timings`. Nothing is said of a time that nothing here was measured for, nor of a model whose vocabulary only its
    tokenizer will know.
    """
    costs = [_cost(params, timings) for params in runs]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return ""
    memory = f"at least {_size(max(n_bytes for _, n_bytes in known))} of memory"
    times = [seconds for seconds, _ in known if seconds is not None]
    return f"about {in_words(sum(times))}, {memory}" if len(times) == len(known) else memory


def _cost(params: Mapping[str, Any], timings: Path) -> tuple[float | None, int] | None:
    """Seconds and bytes; None for what is not known."""
    if params["tokenizer"]["kind"] != "bpe":
        return None
    model, train = ModelConfig.parse(params["model"]), TrainConfig.parse(params["train"])
    table = parameter_table(model, params["tokenizer"]["vocab_size"])
    n_tokens = train.n_sequences(train.n_steps(model.context_length)) * model.context_length
    return expected_s(training_flops(model, table, n_tokens), train, timings), least_bytes(table, train)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{max(1, round(n_bytes / 2**20))} MiB"
