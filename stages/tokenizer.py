"""Make the tokenizer from the training text, and measure it on the validation text."""

from contextlib import ExitStack

import numpy as np
from tqdm import tqdm

from lm.config.tokenizer import TokenizerConfig
from lm.corpus.text_file import BOUNDARY, blocks
from lm.system.files import read_json, write_json
from lm.system.memory import keep_freed_memory
from lm.tokenizer.build import build_tokenizer
from lm.tokenizer.pretrained_inputs import check_listed
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write tokenizer.json and its metrics."""
    keep_freed_memory()
    config = stage.section(TokenizerConfig)
    text = stage.path("train")
    with ExitStack() as bars:
        reading = bars.enter_context(
            tqdm(desc="read", total=text.stat().st_size, unit="B", unit_scale=True, disable=None)
        )
        learning = bars.enter_context(
            tqdm(desc="learn", total=config.vocab_size, unit=" tokens", unit_scale=True, disable=None)
        )
        tokenizer = build_tokenizer(config, text, repository_root(), reading=reading.update, learning=learning.update)

    usage = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    n_bytes = 0
    for block in blocks(stage.path("valid"), tokenizer.last_cut):
        block_text = block.read()
        usage += np.bincount(tokenizer.encode_block(block_text), minlength=tokenizer.vocab_size)
        n_bytes += len(block_text) - block_text.count(BOUNDARY)
    special = list(tokenizer.special_tokens.values())
    usage[special] = 0
    n_tokens = int(usage.sum())
    if n_tokens == 0:
        got = f"got 0 tokens from {n_bytes} bytes"
        raise ValueError(f"data.valid: the validation text must have characters that the tokenizer knows, {got}")
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), special)
    longest = max((tokenizer.token_bytes(id) for id in ordinary.tolist()), key=len)

    check_listed(config.sources, repository_root(), read_json(stage.path("tokenizer_inputs")))
    tokenizer.save(stage.path("tokenizer"))
    write_json(
        stage.path("metrics"),
        {
            "vocab_size": tokenizer.vocab_size,
            "valid_bytes_per_token": n_bytes / n_tokens,
            "longest_token": longest.decode(errors="replace"),
            "longest_token_bytes": len(longest),
            "valid_unused_tokens": int((usage[ordinary] == 0).sum()),
        },
    )


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "tokenizer_inputs": "the list of files of a pretrained tokenizer that stage `inputs` has written",
            "train": "text to learn from",
            "valid": "text to measure on",
        },
        outs={"tokenizer": "the tokenizer.json", "metrics": "JSON: compression, longest token, unused tokens"},
    )
