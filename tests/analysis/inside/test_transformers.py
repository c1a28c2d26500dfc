"""Attention weights and logit lens against transformers, on models that were exported to it.

Tolerances: both sides compute in float32, and the differences are some hundred of its roundings, 6e-8 each.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lm.analysis.inside.lens import logit_lens
from lm.analysis.inside.recording import Site, run
from lm.exchange.export import export_transformers
from tests.exchange.test_export import GREEDILY, exported
from tests.model.configs import largest
from tests.small import random_model


@pytest.mark.parametrize(
    ("switches", "norm"),
    [
        ({"window": 9}, "model.norm"),  # a Qwen3, with grouped heads and normalised queries and keys
        ({"base_width": 16, "qk_norm": False}, "model.norm"),
        (
            {"qk_norm": False, "norm": "layernorm", "positions": "learned", "feed_forward": "gelu", "bias": True}
            | {"n_kv_heads": None},
            "transformer.ln_f",
        ),
    ],
    ids=["qwen3", "llama", "gpt2"],
)
def test_attention_weights_and_lens_are_those_of_transformers(
    tmp_path: Path, switches: dict[str, Any], norm: str
) -> None:
    exportable, bpe = exported(**switches)
    export_transformers(tmp_path / "theirs", exportable, bpe, "f32", GREEDILY, "")
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", attn_implementation="eager")
    model = random_model(bpe.vocab_size, **exportable.config.model_dump())
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in exportable.weights.items()})

    ids = torch.tensor([[bpe.end_id, *bpe.encode("Once upon a time there was a little fox, and it said: hello!")]])
    with torch.no_grad():
        expected = theirs(ids, output_attentions=True, output_hidden_states=True)
        weights, values = model.attention_weights(ids), run(model, ids).values
        for layer, (ours, other) in enumerate(zip(weights, expected.attentions, strict=True)):
            torch.testing.assert_close(ours, other, rtol=0, atol=2e-5, msg=f"attention of layer {layer}")
        # Their last hidden state is normalised already.
        for layer, hidden in enumerate(expected.hidden_states):
            last = layer == model.config.n_layers
            logits = theirs.lm_head(hidden if last else theirs.get_submodule(norm)(hidden))
            lens = logit_lens(model, values[Site("residual", layer)])
            torch.testing.assert_close(lens, logits, rtol=0, atol=5e-5 * largest(logits), msg=f"lens of layer {layer}")
