"""The table of parameters: names, shapes and order are those of the model in PyTorch, the rest is as the papers say."""

import math

import pytest
from hypothesis import given, settings

from lm.config.model import ModelConfig
from lm.formats.parameters import n_parameters, parameter_table
from lm.model.transformer import Transformer
from tests.model.configs import VOCAB_SIZE, configs, small_config

BLOCK = ["attention.qkv", "attention.out", "feed_forward.up", "feed_forward.gate", "feed_forward.down"]
WRITES = ("attention.out.weight", "feed_forward.down.weight")
EVERYTHING = {"positions": "learned", "norm": "layernorm", "bias": True, "qk_norm": True, "tie_embeddings": False}


@settings(max_examples=60)
@given(configs())
def test_names_shapes_and_order_are_those_of_the_model_in_pytorch(config: ModelConfig) -> None:
    model, table = Transformer(config, VOCAB_SIZE), parameter_table(config, VOCAB_SIZE)
    expected = [(name, tuple(weight.shape)) for name, weight in model.state_dict().items()]
    assert [(name, spec.shape) for name, spec in table.items()] == expected
    assert n_parameters(config, VOCAB_SIZE) == model.n_parameters
    for name, spec in table.items():
        assert len(spec.axes) == len(spec.shape), name
        assert not spec.parts or sum(spec.parts.values()) == spec.shape[0], name


def test_a_parameter_that_the_table_lacks_stops_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def incomplete(config: ModelConfig, vocab_size: int) -> object:
        table = parameter_table(config, vocab_size)
        return {name: spec for name, spec in table.items() if name != "final_norm.weight"}

    monkeypatch.setattr("lm.model.transformer.parameter_table", incomplete)
    with pytest.raises(AssertionError, match="each parameter stands in the table"):
        Transformer(small_config(), VOCAB_SIZE)


@pytest.mark.parametrize("vocab_size", [1, 50_000])
def test_the_vocabulary_widens_the_embedding_and_a_head_of_its_own(vocab_size: int) -> None:
    tied, untied = (parameter_table(small_config(tie_embeddings=tie), vocab_size) for tie in (True, False))
    assert tied["embedding.weight"].shape == untied["head.weight"].shape == (vocab_size, 16)
    assert untied.keys() - tied.keys() == {"head.weight"}


def test_every_parameter_has_its_role() -> None:
    table = parameter_table(small_config(n_layers=1, **EVERYTHING), 37)
    hidden = {f"blocks.0.{name}.weight" for name in BLOCK}
    tables = {"embedding.weight": "embedding", "position_embedding.weight": "embedding", "head.weight": "head"}
    for name, spec in table.items():
        other = "bias" if name.endswith(".bias") else "gain"
        assert spec.role == ("hidden" if name in hidden else tables.get(name, other)), name
        assert spec.start == {"bias": 0.0, "gain": 1.0}.get(spec.role), name


def test_the_rows_of_qkv_are_all_query_heads_then_key_and_value_heads() -> None:
    table = parameter_table(small_config(d_model=32, n_heads=4, n_kv_heads=2, bias=True), 37)
    for kind in ("weight", "bias"):
        parts = table[f"blocks.1.attention.qkv.{kind}"].parts
        assert list(parts.items()) == [("query", 32), ("key", 16), ("value", 16)]


def test_the_deviation_follows_from_the_role_and_the_width() -> None:
    for base_width, hidden in ((None, 0.02), (16, 0.02), (4, 0.01)):
        table = parameter_table(small_config(n_layers=8, base_width=base_width, **EVERYTHING), 37)
        for name, spec in table.items():
            assert spec.wider == 16 / (base_width or 16)
            if spec.start is None:
                expected = hidden if spec.role == "hidden" else 0.02
                expected /= math.sqrt(2 * 8) if name.endswith(WRITES) else 1
                assert spec.deviation == pytest.approx(expected, rel=1e-15), name


@pytest.mark.parametrize("base_width", [None, 4])
def test_with_zero_init_what_writes_to_the_residual_stream_starts_at_zero(base_width: int | None) -> None:
    table = parameter_table(small_config(zero_init=True, base_width=base_width, **EVERYTHING), 37)
    for name, spec in table.items():
        if spec.start is None:
            assert (spec.deviation == 0) == name.endswith(WRITES), name
