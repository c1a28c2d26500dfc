"""Generation with the model in NumPy: the texts of its twin in PyTorch. Greedy ones are in tests/generation."""

import pytest

from lm.generation.sampling import Sampling
from tests.generation.test_generate import PROMPTS, VARIANTS, VOCAB_SIZE, never_ending, texts_of
from tests.small import numpy_twin, random_model

SAMPLINGS = {
    "temperature": Sampling(temperature=0.7),
    "top-k": Sampling(top_k=5),
    "top-p": Sampling(top_p=0.8),
    "all": Sampling(temperature=1.2, top_k=9, top_p=0.9),
}


# What chooses a token sees logits alone, so one variant of the model is enough for each part of it.
@pytest.mark.parametrize(
    ("variant", "name"),
    [
        *((variant, "all") for variant in VARIANTS),
        *((next(iter(VARIANTS)), name) for name in SAMPLINGS if name != "all"),
    ],
)
def test_every_way_to_choose_writes_the_texts_that_pytorch_writes(variant: str, name: str) -> None:
    # Rounding moves a probability by some 1e-6, so a draw falls on another side once in thousands of tokens; not here.
    for model in (random_model(VOCAB_SIZE, **VARIANTS[variant]), never_ending(**VARIANTS[variant])):
        expected = texts_of(model, PROMPTS, SAMPLINGS[name], 30, seed=3)
        assert texts_of(numpy_twin(model), PROMPTS, SAMPLINGS[name], 30, seed=3) == expected
    assert any(len(ids) == 30 for ids in expected)
