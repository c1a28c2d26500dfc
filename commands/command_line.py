"""What the commands that load a model have in common: their parser, the options of the model, one line for an error."""

import argparse
import difflib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

WEIGHTS = ("fp32", "bf16", "int8", "int4")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each. For an unknown option, the line names the one that may be meant.

    Texts of its help are shown as they are written. Options can also come as one text, `--options TEXT`, as `make`
    has them. Words after `--` are texts, whatever they begin with, where the command takes such.
    """

    def __init__(self, *, takes_texts: bool = False, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)
        self._takes_texts = takes_texts
        self.add_argument("--options", metavar="TEXT", help=argparse.SUPPRESS)  # taken out before parsing

    def error(self, message: str) -> NoReturn:
        """End the process with this message."""
        self.exit(1, f"error: {message.removeprefix('argument ')}; --help explains all options\n")

    def parse(self, words: Sequence[str] | None) -> argparse.Namespace:
        """The values of the options, by default of those given to the program. `literal`: the words after `--`."""
        words, literal = self._split(sys.argv[1:] if words is None else words)
        values, unknown = self.parse_known_intermixed_args(words)
        if unknown or (literal and not self._takes_texts):
            unknown += literal
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            self.error(
                f"{name}: unknown {'option' if name.startswith('-') else 'word'}"
                + (f", did you mean {near[0]}?" if near else "")
            )
        values.literal = literal
        return values

    def flag_of(self, name: str) -> str:
        """How the option that sets this parameter is written."""
        flags = [action.option_strings[-1] for action in self._actions if action.dest == name and action.option_strings]
        return flags[0] if flags else name

    def _split(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The words before and after `--`. `--options TEXT` is replaced by the words of the text."""
        end = words.index("--") if "--" in words else len(words)
        before, after = list(words[:end]), list(words[end + 1 :])
        if "--options" in before:
            place = before.index("--options")
            try:
                before[place : place + 2] = shlex.split(" ".join(before[place + 1 : place + 2]))
            except ValueError as error:
                self.error(f"--options: {str(error).lower()}")
        return before, after


def add_model_options(parser: Parser, title: str) -> argparse._ArgumentGroup:
    """The group of options that `lm.generation.load.load_trained` takes, in `parser`."""
    group = parser.add_argument_group(title)
    add = group.add_argument
    add("--tokenizer", type=Path, metavar="FILE", default=None, help="a tokenizer.json, if none lies beside the model")
    add(
        "--backend",
        choices=["auto", "torch", "numpy"],
        default="auto",
        help="auto: PyTorch where it is installed (auto)",
    )
    add("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="auto: a GPU if there is one (auto)")
    weights = group.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights", choices=WEIGHTS, default="fp32", help="precision of the matrices: fewer bits are less exact (fp32)"
    )
    for name in WEIGHTS[1:]:
        weights.add_argument(
            f"--{name}", dest="weights", action="store_const", const=name, help=f"the same as --weights {name}"
        )
    return group


def complain(error: Exception) -> None:
    """Write each line of an error as one of its own."""
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
