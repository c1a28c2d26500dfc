"""Encode both splits into token files: raw uint16 ids, each with a JSON card that explains it."""

import sys

from tqdm import tqdm

from lm.config.model import ModelConfig
from lm.system.memory import keep_freed_memory
from lm.tokenizer.encode_file import encode_file
from lm.tokenizer.load import load_tokenizer
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write a .bin and a card for each split."""
    keep_freed_memory()
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    n_needed = stage.aside(ModelConfig).context_length + 1
    # The short one first, because training may refuse it.
    for split, change in (("valid", "raise"), ("train", "lower")):
        text = stage.path(f"{split}_text")
        with tqdm(desc=f"encode {split}", total=text.stat().st_size, unit="B", unit_scale=True, disable=None) as bar:
            card = encode_file(tokenizer, text, stage.path(f"{split}_tokens"), stage.path(f"{split}_card"), bar.update)
        if card.n_tokens < n_needed:
            cure = f"take more text, {change} data.valid_fraction or lower model.context_length"
            got = f"got {card.n_tokens} for {split}"
            print(f"warning: training needs context_length + 1 = {n_needed} tokens, {got}; {cure}", file=sys.stderr)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "tokenizer": "the tokenizer.json",
            "train_text": "text file of the training documents",
            "valid_text": "text file of the validation documents",
        },
        outs={
            "train_tokens": "token file to write",
            "train_card": "its card",
            "valid_tokens": "token file to write",
            "valid_card": "its card",
        },
    )
