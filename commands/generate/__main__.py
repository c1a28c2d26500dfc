"""Let a trained model continue texts: `python -m commands.generate --help` explains all options."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from commands.command_line import Parser, complain
from commands.generate.options import build_parser, check_options, sample_config, with_flags
from commands.generate.output import ReaderGoneError, note, print_texts, stream_text, write_json_lines
from commands.generate.prompts import gather_prompts
from commands.generate.request import Request
from lm.config.base import parse_seed
from lm.formats.model_file import check_same_tokenizer
from lm.generation.load import Device, Trained, load_trained
from lm.generation.speculation import DraftModel, Guesses, PromptLookup
from lm.system.memory import is_out_of_memory

BATCH, SEED = 32, 1337


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 after a mistake, 130 when stopped by Ctrl-C."""
    parser = build_parser()
    values = vars(parser.parse(words))
    try:
        write(ask(values, parser), values)
    except KeyboardInterrupt:
        note("stopped")
        return 130
    except ReaderGoneError:  # it has read enough
        return 0
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        note("error: --batch: so many texts at once, or the model alone, do not fit into memory; lower --batch")
        return 1
    except OSError as error:  # the disk is full, for example
        note(f"error: {error.strerror or error}")
        return 1
    except ValueError as error:
        complain(ValueError("\n".join(with_flags(line, parser) for line in str(error).splitlines())))
        return 1
    return 0


def ask(values: Mapping[str, Any], parser: Parser) -> Request:
    """What the options ask for, with the model loaded.

    Raises:
        ValueError: with a line for each mistake.
    """
    prompts = gather_prompts(
        values["prompts"],
        values["literal"],
        values.get("prompts_file"),
        sys.stdin.buffer,
        is_terminal=sys.stdin.isatty(),
    )
    check_options(values)
    config, seed = sample_config(parser, values, prompts), parse_seed(values.get("seed", SEED))
    trained = load_trained(
        values["model"],
        values["tokenizer"],
        backend=values["backend"],
        device=config.device,
        weights=config.weights,
    )
    logprobs = values.get("logprobs", 0) if "json" in values else None
    guesses = _guesses(values, trained, config.device)
    return Request(trained, config, seed, values.get("batch", BATCH), "special" in values, logprobs, guesses)


def _guesses(values: Mapping[str, Any], trained: Trained, device: Device) -> Guesses | None:
    if "draft_ngrams" in values:
        return PromptLookup()
    if "draft" not in values:
        return None
    draft = load_trained(values["draft"], values["tokenizer"], backend=values["backend"], device=device)
    check_same_tokenizer(str(values["draft"]), draft.tokenizer.sha256, str(values["model"]), trained.tokenizer.sha256)
    return DraftModel(draft.model)


def write(request: Request, values: Mapping[str, Any]) -> None:
    """Write the texts, as they come."""
    request.check()
    if n_long := request.n_long_prompts():
        context_length = request.trained.card.config.context_length
        note(f"note: the model sees {context_length} tokens at once, so only the end of {n_long} longer prompts")
    if "json" in values:
        write_json_lines(request, values["json"], tokens="logprobs" in values)
    elif request.n_texts == 1:
        stream_text(request)
    else:
        print_texts(request)


if __name__ == "__main__":
    sys.exit(main())
