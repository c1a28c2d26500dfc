"""The options of `python -m commands.generate`, and what its help teaches."""

import argparse
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.command_line import Parser, add_model_options
from lm.config.idle import idle_parameters
from lm.config.sample import SampleConfig

ABOUT = """\
Let a trained model continue texts. A single text is shown token by token, as it is drawn; Ctrl-C ends it.

MODEL is a folder with model.safetensors and tokenizer.json, such as models/base, or a model file with the tokenizer
beside it. Options may stand before, between and after the prompts. Without a prompt the model starts a text, or, where
the input is no terminal, the prompt is read from it."""

EXAMPLES = """\
examples:
  a text, from its start or from yours:
    python -m commands.generate models/base
    python -m commands.generate models/base "Once upon a time" --temperature 0.6
  four texts of one prompt; the same seed gives the same texts again:
    python -m commands.generate models/base "One rainy morning" --n 4 --seed 7 --min-p 0.05
  the likeliest text that a search finds, with words that must and must not be in it:
    python -m commands.generate models/base "One rainy morning" --beams 5 --require cake --forbid rabbit
  a prompt from another program:
    echo "Once upon a time" | python -m commands.generate models/base --stop "The end."
  many prompts, one a line, and all that is known of each text as JSON, one line a text:
    python -m commands.generate models/base --prompts prompts.txt --batch 32 --json texts.jsonl --logprobs 3
"""

# What a text looks like if no option says otherwise. `top_p` counts only if no other option narrows the choice.
DEFAULTS: Mapping[str, Any] = {"max_new_tokens": 400, "temperature": 0.8, "top_k": None, "top_p": 0.95}
# What needs more of a token than that it is drawn from the model's distribution.
NOT_GUESSED = (
    *("samples", "beams", "penalty_alpha", "stop", "forbid", "require", "logprobs"),
    *("repetition_penalty", "frequency_penalty", "presence_penalty", "no_repeat_ngram"),
)
NARROWING = ("top_k", "top_p", "min_p", "typical_p")


def build_parser() -> Parser:
    """The parser of the command line. Of what a text shall be, only what is given is among the values."""
    parser = Parser(
        prog="python -m commands.generate",
        usage="%(prog)s MODEL [PROMPT ...] [options]",
        description=ABOUT,
        epilog=EXAMPLES,
        argument_default=argparse.SUPPRESS,
        takes_texts=True,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=argparse.SUPPRESS)
    parser.add_argument("prompts", nargs="*", default=[], metavar="PROMPT", help=argparse.SUPPRESS)

    _add_group(
        parser,
        "what is written",
        ("--n, -n", int, "N", "texts for each prompt; with --beams the N best (1)", "samples"),
        ("--max-new-tokens", int, "N", "upper limit; a text may end itself earlier (400)"),
        ("--seed", int, "N", "decides what is drawn; the same seed gives the same text (1337)"),
        ("--stop", str, "TEXT", "end a text before it says this; may be given several times", "stop", "append"),
        ("--forbid", str, "TEXT", "never write this; may be given several times", "forbid", "append"),
        ("--require", str, "TEXT", "with --beams: write this; may be given several times", "require", "append"),
    )
    _add_group(
        parser,
        "how the next token is drawn",
        ("--temperature", float, "T", "below 1 the likely tokens become likelier; 0 always takes the likeliest (0.8)"),
        ("--top-k", int, "K", "of the K likeliest tokens only"),
        ("--top-p", float, "P", "of the likeliest tokens that together reach this probability (0.95, if none of these"
         " four is given)"),
        ("--min-p", float, "P", "of the tokens at least P times as likely as the likeliest"),
        ("--typical-p", float, "P", "of the tokens whose surprise is nearest to what is expected, until they reach P"),
    )  # fmt: skip
    _add_group(
        parser,
        "against repetition",
        ("--repetition-penalty", float, "X", "above 1 makes tokens that are already there less likely"),
        ("--frequency-penalty", float, "X", "subtract X from a token's logit for each time it was written"),
        ("--presence-penalty", float, "X", "subtract X once from a token that was written"),
        ("--no-repeat-ngram", int, "N", "never write the same N tokens in a row twice"),
    )
    search = _add_group(
        parser,
        "search instead of drawing",
        ("--beams", int, "N", "beam search: keep the N likeliest beginnings at each step"),
        ("--length-penalty", float, "X", "above 0 favours long texts, below 0 short ones (1)"),
        (
            "--penalty-alpha",
            float,
            "A",
            "contrastive search: how much the next of --top-k tokens shall be unlike the text",
        ),
    )
    search.add_argument(
        "--early-stopping",
        type=_early_stopping,
        metavar="WHEN",
        help="true: stop as soon as N texts have ended; false: unless a better one is likely; never: search on (false)",
    )
    prompts = _add_group(
        parser,
        "many prompts",
        ("--prompts", Path, "FILE", "read the prompts from a file: each line of a .txt, or .jsonl with strings or"
         " objects that have a `prompt`", "prompts_file"),
        ("--batch", int, "N", "texts at once; fewer need less memory (32)"),
        ("--json", Path, "FILE", "write one JSON object a text, as each text ends; - is the standard output"),
        ("--logprobs", int, "K", "with --json: the log probability of each token, and the K likeliest in its place"),
    )  # fmt: skip
    prompts.add_argument("--special", action="store_true", help="special tokens in a prompt are tokens, not plain text")
    model = add_model_options(parser, "model and machine")
    guesses = model.add_mutually_exclusive_group()
    guesses.add_argument(
        "--draft",
        type=Path,
        metavar="MODEL",
        help="a smaller model with the same tokenizer guesses tokens, which this one checks; each has the same chance",
    )
    guesses.add_argument(
        "--draft-ngrams", action="store_true", help="the same; the guess is what followed the last words before"
    )
    return parser


def sample_config(parser: Parser, values: Mapping[str, Any], prompts: Sequence[str]) -> SampleConfig:
    """The parameters that the options ask for.

    Raises:
        ValueError: with a line for each mistake, which names the option.
    """
    given = {name: value for name, value in values.items() if name in SampleConfig.model_fields and name != "prompts"}
    defaults = dict(DEFAULTS)
    if any(name in given for name in NARROWING):
        defaults["top_p"] = None
    try:
        config = SampleConfig.parse(defaults | given | {"prompts": list(prompts)})
        if idle := list(_idle(config, given)):
            raise ValueError("\n".join(idle))
    except ValueError as error:
        raise ValueError(with_flags(str(error), parser)) from None
    return config


def _idle(config: SampleConfig, given: Collection[str]) -> Iterator[str]:
    """A line for each reason why options that are given have no effect."""
    for line in idle_parameters(config):
        places, colon, reason = line.partition(":")
        if named := [place for place in places.split(", ") if place.removeprefix("sample.") in given]:
            yield ", ".join(named) + colon + reason


def check_options(values: Mapping[str, Any]) -> None:
    """Raise ValueError unless the options that are no parameters of sampling have values that make sense."""
    for name, least in (("batch", 1), ("logprobs", 0)):
        if name in values and values[name] < least:
            raise ValueError(f"{name}: must be {least} or above, got {values[name]}")
    guessing = next((name for name in ("draft", "draft_ngrams") if name in values), None)
    if guessing and (other := next((name for name in NOT_GUESSED if name in values), None)):
        raise ValueError(f"{other}: cannot be used with --{guessing.replace(chr(95), chr(45))}")
    if "logprobs" in values and "json" not in values:
        raise ValueError("logprobs: needs --json, which has a place for them")


def with_flags(message: str, parser: Parser) -> str:
    """The message of an error, where parameters are called by their options."""
    name, colon, rest = message.partition(":")
    if colon and not name.startswith("sample."):
        message = parser.flag_of(name) + colon + rest
    for name in sorted(SampleConfig.model_fields, key=len, reverse=True):
        message = re.sub(rf"sample\.{name}\b(\.\d+)?", parser.flag_of(name), message)
    return message


def _early_stopping(word: str) -> bool | str:
    return {"true": True, "false": False}.get(word, word)


def _add_group(parser: Parser, title: str, *options: tuple[Any, ...]) -> argparse._ArgumentGroup:
    """A group of options: flags, type, what stands for the value, help, and where they differ, name and action."""
    group = parser.add_argument_group(title)
    for flags, kind, metavar, help_text, *more in options:
        names = dict(zip(("dest", "action"), more, strict=False))
        group.add_argument(*reversed(flags.split(", ")), type=kind, metavar=metavar, help=help_text, **names)
    return group
