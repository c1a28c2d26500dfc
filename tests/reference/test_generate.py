"""Generation with the model in NumPy: the texts of its twin in PyTorch. Greedy ones are in tests/generation."""

from typing import Any

import pytest

from lm.generation.generate import generate
from tests.generation.test_generate import PROMPTS, SAMPLED, VARIANTS, VOCAB_SIZE, never_ending
from tests.small import numpy_twin, random_model

STRATEGIES: dict[str, dict[str, Any]] = {
    "temperature": SAMPLED | {"temperature": 0.7},
    "top-k": SAMPLED | {"top_k": 5},
    "top-p": SAMPLED | {"top_p": 0.8},
    "all": SAMPLED | {"temperature": 1.2, "top_k": 9, "top_p": 0.9, "seed": 3},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_strategy_writes_the_texts_that_pytorch_writes(variant: str, strategy: str) -> None:
    # Rounding moves a probability by some 1e-6, so a draw falls on another side once in thousands of tokens; not here.
    for model in (random_model(VOCAB_SIZE, **VARIANTS[variant]), never_ending(**VARIANTS[variant])):
        expected = generate(model, PROMPTS, max_new_tokens=30, **STRATEGIES[strategy])
        assert generate(numpy_twin(model), PROMPTS, max_new_tokens=30, **STRATEGIES[strategy]) == expected
    assert any(len(ids) == 30 for ids in expected)
