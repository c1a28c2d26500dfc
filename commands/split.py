"""Show how a tokenizer splits text: its tokens with bars between them, their ids, and how many there are.

python -m commands.split data/tokenizer.json "Once upon a time" ...
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lm.tokenizer.inspection import show_split
from lm.tokenizer.load import load_tokenizer


def main(words: Sequence[str] | None = None) -> None:
    """Print each text that the command line names."""
    about, example = (__doc__ or "\n\n").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m commands.split", description=about, epilog=example)
    parser.add_argument("tokenizer", type=Path, help="a tokenizer.json")
    parser.add_argument("texts", nargs="+", help="texts to split; -- before one that begins with -")
    arguments = parser.parse_intermixed_args(words)
    try:
        tokenizer = load_tokenizer(arguments.tokenizer)
        for text in arguments.texts:
            ids = tokenizer.encode(text)
            print(show_split(tokenizer, text))
            print(*ids)
            print(f"{len(ids)} tokens, {len(text.encode()) / max(1, len(ids)):.2f} bytes each\n")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
