"""Let a trained model tell stories in pure NumPy, on a machine that need not have PyTorch.

python -m lm.tell models/base/model.safetensors data/tokenizer.json "Once upon a time" ...
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from lm.generation.generate import generate
from lm.reference.load import load_model
from lm.tokenizer.load import load_tokenizer
from lm.weights import check_same_tokenizer


def main() -> None:
    """Print a continuation of each prompt."""
    parser = argparse.ArgumentParser(
        prog="python -m lm.tell", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a model.safetensors")
    parser.add_argument("tokenizer", type=Path, help="the tokenizer.json it was trained with")
    parser.add_argument("prompts", nargs="*", default=[""], help="texts to continue; none: a story from its beginning")
    parser.add_argument("--max-new-tokens", type=int, default=250, help="at most; a text may end itself before")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest token")
    parser.add_argument("--top-k", type=int, help="draw from the k likeliest tokens only")
    parser.add_argument("--top-p", type=float, default=0.95, help="draw from the likeliest that reach it together")
    parser.add_argument("--seed", type=int, default=1337, help="decides the draws")
    arguments = parser.parse_args()
    rules = {
        "max-new-tokens: must be at least 1": arguments.max_new_tokens >= 1,
        "temperature: must be at least 0": arguments.temperature >= 0,
        "top-k: must be at least 1": arguments.top_k is None or arguments.top_k >= 1,
        "top-p: must be above 0 and at most 1": 0 < arguments.top_p <= 1,
        "seed: must be from 0 to 2**32 - 1": 0 <= arguments.seed < 2**32,
    }
    for rule, kept in rules.items():
        if not kept:
            name = rule.split(":")[0].replace("-", "_")
            parser.exit(1, f"error: --{rule}, got {getattr(arguments, name)}\n")
    try:
        tell(arguments)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")


def tell(arguments: argparse.Namespace) -> None:
    """Load, generate, print."""
    model, card = load_model(arguments.model)
    tokenizer = load_tokenizer(arguments.tokenizer)
    check_same_tokenizer(str(arguments.tokenizer), tokenizer.sha256, str(arguments.model), card.tokenizer_sha256)
    prompts = [[card.end_id, *tokenizer.encode(prompt)] for prompt in arguments.prompts]
    with tqdm(desc="tell", unit=" tokens", disable=None, leave=False) as bar:
        continuations = generate(
            model,
            prompts,
            max_new_tokens=arguments.max_new_tokens,
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
            end_id=card.end_id,
            seed=arguments.seed,
            progress=bar.update,
        )
    print("\n\n".join(a + tokenizer.decode(ids) for a, ids in zip(arguments.prompts, continuations, strict=True)))


if __name__ == "__main__":
    main()
