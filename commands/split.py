"""Show how a tokenizer splits text: its tokens with bars between them, their ids, and how many there are.

python -m commands.split data/tokenizer.json "Once upon a time" ...
"""

import sys
from pathlib import Path

from lm.tokenizer.inspection import show_split
from lm.tokenizer.load import load_tokenizer


def main(arguments: list[str]) -> None:
    """Print each text."""
    if len(arguments) < 2 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    try:
        tokenizer = load_tokenizer(Path(arguments[0]))
        for text in arguments[1:]:
            ids = tokenizer.encode(text)
            print(show_split(tokenizer, text))
            print(*ids)
            print(f"{len(ids)} tokens, {len(text.encode()) / max(1, len(ids)):.2f} bytes each\n")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
