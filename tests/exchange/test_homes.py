"""Each architecture of transformers computes the same logits as the model that is exported to it."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from lm.config.model import ModelConfig
from lm.exchange.homes import ANY, HOMES, Home
from lm.exchange.rewrites import Model
from lm.exchange.transformers_folder import configuration
from lm.formats.parameters import parameter_table
from lm.formats.transformers import to_transformers
from tests.model.configs import VOCAB_SIZE, configs, random_ids, random_model

SIZES = {"context_length", "d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff", "rope_theta", "tie_embeddings"}
ONLY_IN_TRAINING = {"zero_init", "look_back_heads", "dropout"}


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.architecture)
def test_a_home_says_what_it_needs_of_each_switch(home: Home) -> None:
    assert home.needs.keys() == ModelConfig.model_fields.keys() - SIZES - ONLY_IN_TRAINING


@st.composite
def configs_of(draw: st.DrawFn, home: Home) -> ModelConfig:
    """A random configuration in the given home, before its rewrites."""
    config = draw(configs())
    switches: dict[str, Any] = {"dropout": 0.0}
    for name, wanted in home.needs.items():
        if wanted != ANY and name not in ("base_width", "bias", "window"):
            switches[name] = draw(st.sampled_from(wanted)) if isinstance(wanted, tuple) else wanted
    if home.needs["window"] is None:
        switches["window"] = draw(st.sampled_from([None, config.context_length]))
    if home.needs["bias"] is False:
        switches["bias"] = False
    if switches["positions"] == "learned":
        switches["positions"] = draw(st.sampled_from(["learned", "none", "sinusoidal"]))
    if home.model_type == "mpt":
        switches |= {"d_ff": None, "n_heads": draw(st.sampled_from([1, 2, 4])), "n_kv_heads": 1}
    n_heads = switches.get("n_heads", config.n_heads)
    switches["d_model"] = n_heads * draw(st.sampled_from([4, 6]))
    return config.model_copy(update=switches)


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.architecture)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_logits_are_the_same_there(home: Home, data: st.DataObject) -> None:
    config = data.draw(configs_of(home))
    ours = random_model(config)
    model = home.rewritten(Model(config, {name: p.detach().numpy() for name, p in ours.named_parameters()}))
    assert home.unmet(model.config) == []

    settings = configuration(home, model, end_id=1, dtype="f32") | {"attn_implementation": "eager"}
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings)).eval()  # type: ignore[no-untyped-call]
    assert type(theirs).__name__ == home.architecture
    table = parameter_table(model.config, VOCAB_SIZE)
    weights = home.adapt(to_transformers(model.weights, home.weight_map, table))
    state = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert unexpected == []
    assert set(missing) <= {"lm_head.weight"}
    theirs.tie_weights()

    ids = random_ids(2, config.context_length)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), rtol=0, atol=1e-4)
