"""Bring a model of others into our format: a Llama, a Qwen3 or a GPT-2 of Hugging Face transformers.

  python -m commands.import openai-community/gpt2 models/gpt2           a repository of the Hugging Face hub
  python -m commands.import some/folder models/theirs                   a folder on this machine

Then `python -m commands.generate models/gpt2 "Once upon a time"` lets it continue a text.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.command_line import Parser
from lm.exchange.hub import download_model
from lm.exchange.imported import read_folder, read_tokenizer
from lm.formats.model_file import ModelCard, save_model
from lm.formats.model_folder import MODEL, TOKENIZER
from lm.formats.parameters import n_parameters


def main(words: Sequence[str] | None = None) -> None:
    """Import the model that the command line names."""
    about, _, after = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog="python -m commands.import",
        description=about,
        epilog=after,
    )
    parser.add_argument("source", help="a folder with config.json, or a repository as OWNER/NAME")
    parser.add_argument("out", type=Path, help="the folder to write model.safetensors and tokenizer.json to")
    parser.add_argument("--revision", help="of a repository: a branch, tag or commit; the newest if left")
    arguments = parser.parse(words)
    try:
        bring(arguments.source, arguments.out, arguments.revision)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


def bring(source: str, out: Path, revision: str | None) -> None:
    """Write the model and its tokenizer, and say what came out."""
    folder = Path(source)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"--revision: must go with a repository of the hub, got the folder {source}")
    else:
        folder = download_model(source, revision)
    model = read_folder(folder)
    tokenizer = read_tokenizer(folder, model.vocab_size)
    card = ModelCard(model.config, model.vocab_size, tokenizer.end_id, tokenizer.sha256, [], model.chat)
    tokenizer.save(out / TOKENIZER)
    save_model(out / MODEL, model.weights, card)
    size = n_parameters(model.config, model.vocab_size)
    print(f"{size:,} parameters, {model.vocab_size:,} tokens, context {model.config.context_length}; written to {out}")


if __name__ == "__main__":
    main()
