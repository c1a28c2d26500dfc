"""Show how a tokenizer splits text: its tokens with bars between them, their ids, and how many there are.

python -m commands.split data/tokenizer.json "Once upon a time" ...
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.command_line import Parser
from lm.tokenizer.inspection import show_split
from lm.tokenizer.load import load_tokenizer


def main(words: Sequence[str] | None = None) -> None:
    """Print each text that the command line names."""
    about, example = (__doc__ or "\n\n").split("\n\n")
    parser = Parser(takes_texts=True, prog="python -m commands.split", description=about, epilog=example)
    parser.add_argument("tokenizer", type=Path, help="a tokenizer.json")
    parser.add_argument("texts", nargs="*", help="texts to split; -- before one that begins with -")
    arguments = parser.parse(words)
    texts = arguments.texts + arguments.literal
    if not texts:
        parser.error("texts: must be one or more, got none")
    try:
        tokenizer = load_tokenizer(arguments.tokenizer)
        for text in texts:
            ids = tokenizer.encode(text)
            print(show_split(tokenizer, text))
            print(*ids)
            print(f"{len(ids)} tokens, {len(text.encode()) / max(1, len(ids)):.2f} bytes each\n")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
