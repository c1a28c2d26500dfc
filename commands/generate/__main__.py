"""Let a trained model continue texts. The model computes in pure NumPy, so PyTorch need not be installed.

python -m commands.generate models/base/model.safetensors data/tokenizer.json "Once upon a time" ...
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from lm.config.sample import SampleConfig
from lm.formats.model_file import check_same_tokenizer
from lm.generation.events import counted
from lm.generation.texts import continuation, continuations, continue_prompts
from lm.reference.load import load_model
from lm.tokenizer.load import load_tokenizer


def main() -> None:
    """Print a continuation of each prompt."""
    about, example = (__doc__ or "\n\n").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m commands.generate",
        description=about,
        epilog=example,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="a model.safetensors")
    parser.add_argument("tokenizer", type=Path, help="the tokenizer.json it was trained with")
    parser.add_argument(
        "prompts", nargs="*", default=[""], help="texts to continue; put -- before one that begins with -"
    )
    parser.add_argument("--max-new-tokens", type=int, default=250, help="upper limit; a text may end earlier")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest token")
    parser.add_argument("--top-k", type=int, help="draw from the k likeliest tokens only")
    parser.add_argument("--top-p", type=float, default=0.95, help="draw from the fewest tokens that add up to this")
    parser.add_argument("--seed", type=int, default=1337, help="decides the draws")
    arguments = vars(parser.parse_intermixed_args())  # options may stand before, between and after the texts
    model, tokenizer, seed = (arguments.pop(name) for name in ("model", "tokenizer", "seed"))
    try:
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed: must be an integer from 0 to 2**32 - 1, got {seed}")
        generate(model, tokenizer, SampleConfig.parse(arguments | {"device": "cpu"}), seed)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has read enough
        sys.stdout = None
    except MemoryError:
        n = len(arguments["prompts"])
        sys.exit(f"error: prompts: {n} texts at once, or the model alone, do not fit into memory; give fewer prompts")
    except ValueError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


def generate(model_path: Path, tokenizer_path: Path, config: SampleConfig, seed: int) -> None:
    """Print a single text as it is drawn. Print several texts when all of them are finished."""
    model, card = load_model(model_path)
    tokenizer = load_tokenizer(tokenizer_path)
    check_same_tokenizer(str(tokenizer_path), tokenizer.sha256, str(model_path), card.tokenizer_sha256)
    events = continue_prompts(model, tokenizer, config, end_id=card.end_id, seed=seed)
    if len(config.prompts) == 1:
        (prompt,) = config.prompts
        print(prompt, end="", flush=True)
        for text in continuation(tokenizer, prompt, events):
            print(text, end="", flush=True)
        print()
        return
    with tqdm(desc="generate", unit=" tokens", disable=None, leave=False) as bar:
        texts = continuations(tokenizer, config.prompts, counted(events, bar.update))
    print("\n\n".join(prompt + text for prompt, text in zip(config.prompts, texts, strict=True)))


if __name__ == "__main__":
    main()
