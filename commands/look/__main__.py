"""Look inside a trained model while it reads a text: `python -m commands.look --help` explains all options."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.command_line import Parser, complain
from commands.look.looking import Subject, load, topics
from commands.look.summary import summary
from lm.analysis.page import write_page
from lm.analysis.views import Topic

ABOUT = """\
Look inside a trained model while it reads a text: how well it foresaw each token, where each head looks, what each
layer would say next, which part says it, what each head looks for, and what its matrices look like.

MODEL is a folder with model.safetensors and tokenizer.json, such as models/base, or a model file with the tokenizer
beside it; any checkpoint of any model of this project. A short summary is printed. All views go to one page that opens
in a browser without a network; its path is the last line. A text that is longer than the context is read from its
end; the empty text "" shows how a model begins."""

EXAMPLES = """\
examples:
    python -m commands.look models/base "Lily had a red ball. Tom wanted the"
  another model beside it, on the same page:
    python -m commands.look models/base "Lily had a red ball." --beside models/chat
  where in the model the answer comes from: another prompt, which differs in a word and has as many tokens:
    python -m commands.look models/base "Tom was happy. Tom was" --patch "Tom was angry. Tom was"
  what each head and layer is worth, measured on texts (--texts: one document a line):
    python -m commands.look models/base "Once upon a time" --texts stories.txt
"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after a mistake."""
    values = _parser().parse(words)
    texts = values.literal + ([] if values.text is None else [values.text])
    try:
        if len(texts) != 1:
            raise ValueError(f"TEXT: must be one text, in quotes, got {len(texts)}")
        if values.out.is_dir() or not values.out.parent.is_dir():
            raise ValueError(f"--out: {values.out}: must be a file in a folder that exists")
        paths = [values.model, *([values.beside] if values.beside else [])]
        subjects = [load(path, values.tokenizer if path == values.model else None) for path in paths]
        named = zip(("model", "beside"), subjects, strict=False)
        shown = [topic for key, subject in named for topic in _look(key, subject, texts[0], values)]
        write_page(
            values.out,
            "Looking inside",
            shown,
            about=f"The text: {texts[0]}" if texts[0] else "The empty text",
        )
    except ValueError as error:
        complain(error)
        return 1
    except OSError as error:
        complain(OSError(f"{values.out}: {error.strerror or error}"))
        return 1
    print(values.out)
    return 0


def _look(key: str, subject: Subject, text: str, values: argparse.Namespace) -> list[Topic]:
    print(summary(subject, text, values.special))
    return topics(
        subject, text, key=key, patch=values.patch, texts=values.texts, seed=values.seed, special=values.special
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m commands.look",
        usage="%(prog)s MODEL TEXT [options]",
        description=ABOUT,
        epilog=EXAMPLES,
        takes_texts=True,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=argparse.SUPPRESS)
    parser.add_argument("text", nargs="?", metavar="TEXT", help=argparse.SUPPRESS)
    parser.add_argument("--beside", type=Path, metavar="MODEL", help="a second model, which reads the same text")
    parser.add_argument("--patch", metavar="TEXT", help="a text with as many tokens, whose values are exchanged")
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="documents, one a line, to measure what parts are worth"
    )
    parser.add_argument("--special", action="store_true", help="read <|user|> and the like as tokens of roles")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json, if none lies beside MODEL")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the random tokens of the scores (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("look.html"), metavar="FILE", help="where the page goes (look.html)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
