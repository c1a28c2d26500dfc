"""Write a trained model for other programs: Hugging Face transformers and all that build on it, or llama.cpp.

The export is opened again and compared with our model; if it computes anything else, nothing is left there.

  python -m commands.export models/base exports/base --format transformers
  python -m commands.export models/base exports/base.gguf --format gguf --dtype q8_0
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.command_line import Parser
from lm.exchange.export import export_code, export_gguf, export_transformers
from lm.exchange.generation_defaults import generation_defaults
from lm.exchange.homes import NoHomeError
from lm.exchange.model_card import model_card
from lm.exchange.rewrites import Model
from lm.formats.model_file import check_same_tokenizer, load_weights
from lm.formats.model_folder import model_files
from lm.tokenizer.load import load_tokenizer


def main(words: Sequence[str] | None = None) -> None:
    """Export the model that the command line names."""
    about, _, example = (__doc__ or "").rpartition("\n\n")
    parser = Parser(
        prog="python -m commands.export",
        description=about,
        epilog=example,
    )
    parser.add_argument("model", type=Path, help="a folder with model.safetensors and tokenizer.json, or a model file")
    parser.add_argument("out", type=Path, help="the folder to write; it replaces one that is there")
    parser.add_argument(
        "--format", choices=["transformers", "gguf"], default="transformers", help="default: %(default)s"
    )
    parser.add_argument(
        "--dtype",
        choices=["f32", "bf16", "f16", "q8_0"],
        default="f32",
        help="type of the matrices; q8_0, 8 bits a weight, is for gguf alone; default: %(default)s",
    )
    parser.add_argument(
        "--code",
        action="store_true",
        help="for transformers: write our own code beside the weights, for a model whose switches no architecture "
        "there has; whoever opens the folder must say trust_remote_code=True",
    )
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json that does not lie beside the model")
    parser.add_argument("--name", help="what the model is called; default: the name of its folder")
    arguments = parser.parse(words)
    try:
        export(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except NoHomeError as error:
        advice = "" if arguments.format == "gguf" else "; with --code our own code is written beside the weights"
        sys.exit(f"error: {error}{advice}")
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


def export(arguments: argparse.Namespace) -> None:
    """Write the export, and say what came out and where."""
    files = model_files(arguments.model, arguments.tokenizer)
    tokenizer = load_tokenizer(files.tokenizer)
    weights, card = load_weights(files.model)
    check_same_tokenizer(str(files.tokenizer), tokenizer.sha256, str(files.model), card.tokenizer_sha256)
    model, out = Model(card.config, weights, card.chat), arguments.out
    name = arguments.name or files.model.resolve().parent.name
    if out.is_file():
        raise ValueError(f"{out}: must be a folder, or not be there, got a file")
    if out.is_dir() and any(out.iterdir()) and not _is_export(out):
        raise ValueError(f"{out}: must be empty or an earlier export, got a folder with other files")
    if arguments.code and arguments.format == "gguf":
        raise ValueError("--code: must go with --format transformers, got gguf")
    if arguments.format == "gguf":
        report = export_gguf(out, model, tokenizer, arguments.dtype, name)
    else:
        readme = model_card(name, model, {}, {})
        generation = generation_defaults(temperature=0.8, top_k=None, top_p=0.95)
        write = export_code if arguments.code else export_transformers
        report = write(out, model, tokenizer, arguments.dtype, generation, readme)
    shorter = ""
    if report["context_length"] < card.config.context_length:
        shorter = f", whose context ends at {report['context_length']} tokens, because of the window"
    print(
        f"{report['architecture']} in {report['dtype']}{shorter}: logits within "
        f"{report['largest_difference_of_logits']:.2g} of ours; written to {out}"
    )


def _is_export(folder: Path) -> bool:
    """Whether a folder looks like one that this command has written, and so may be replaced."""
    return (folder / "generation_config.json").exists() or all(path.suffix == ".gguf" for path in folder.iterdir())


if __name__ == "__main__":
    main()
