"""Recording, ablation, lens and attribution on every switch of the model, against its twin in NumPy.

The twin knows nothing of hooks. A lens is a twin with fewer blocks, and an ablation is a twin with zeros in a matrix.
All is in float64, but rotations and norms have roundings of float32 in them.
"""

from collections.abc import Mapping

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from lm.analysis.inside.ablation import Ablation, ablations, losses, means_of, removal
from lm.analysis.inside.attribution import contributions
from lm.analysis.inside.lens import logit_lens
from lm.analysis.inside.patching import patching
from lm.analysis.inside.recording import Site, run, sites
from lm.config.model import ModelConfig
from lm.model.transformer import Transformer
from lm.reference.transformer import Transformer as NumpyTransformer
from lm.training.batch import Batch
from tests.model.configs import configs, largest, random_ids, random_model, small_config
from tests.small import numpy_twin

any_model = given(configs(), st.integers(1, 3), st.integers(0, 2**16), st.data())


def drawn(config: ModelConfig, batch: int, seed: int, data: st.DataObject) -> tuple[Transformer, Tensor]:
    seq = data.draw(st.integers(1, config.context_length))
    return random_model(config, seed, torch.float64), random_ids(batch, seq, seed)


def assert_near(actual: Tensor | NDArray[np.float64], expected: Tensor) -> None:
    """Equal but for roundings of float32, measured against the largest number."""
    tolerance = 1e-5 * max(1.0, largest(expected))
    torch.testing.assert_close(torch.as_tensor(actual), expected, rtol=0, atol=tolerance)


def twin_logits(model: Transformer, ids: Tensor, changes: Mapping[str, NDArray[np.float64]]) -> Tensor:
    """The logits of the twin with some weights changed."""
    weights = {name: weight.detach().numpy() for name, weight in model.state_dict().items()} | dict(changes)
    return torch.from_numpy(NumpyTransformer(model.config, weights).forward(ids.numpy()))


@settings(max_examples=30)
@any_model
def test_a_run_that_replaces_nothing_is_the_model_to_the_bit(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    model, ids = drawn(config, batch, seed, data)
    with torch.no_grad():
        expected = model.hidden(ids)
    plain = run(model, ids)
    assert torch.equal(plain.hidden, expected)
    assert list(plain.values) == sites(model)
    # Replaced by themselves, or by what the same run holds, the values change nothing either.
    itself = run(model, ids, {site: lambda value: value.clone() for site in sites(model)})
    patched = run(model, ids, {site: lambda _, site=site: plain.values[site] for site in sites(model)})  # type: ignore[misc]
    assert torch.equal(itself.hidden, expected)
    assert torch.equal(patched.hidden, expected)
    with torch.no_grad():  # and no hook is left behind
        assert torch.equal(model.hidden(ids), expected)


@settings(max_examples=15)
@any_model
def test_a_stream_from_another_run_brings_its_output(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    model, ids = drawn(config, batch, seed, data)
    other = run(model, random_ids(batch, ids.shape[1], seed + 1))
    for layer in range(config.n_layers + 1):
        site = Site("residual", layer)
        assert torch.equal(run(model, ids, {site: lambda _, site=site: other.values[site]}).hidden, other.hidden)  # type: ignore[misc]


@settings(max_examples=30)
@any_model
def test_parts_add_up_to_every_logit(config: ModelConfig, batch: int, seed: int, data: st.DataObject) -> None:
    model, ids = drawn(config, batch, seed, data)
    done = run(model, ids)
    parts = contributions(model, done.values)
    assert_near(torch.stack([*parts.values()]).sum(0), done.hidden)
    by_part = torch.stack([vector @ model.head_weight.T for vector in parts.values()])
    assert_near(by_part.sum(0), model.logits(done.hidden))
    heads = [(part.layer, part.head) for part in parts if part.kind == "head"]
    assert heads == [(layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)]


@settings(max_examples=20)
@any_model
def test_the_lens_of_a_layer_is_the_model_that_ends_there(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    model, ids = drawn(config, batch, seed, data)
    values = run(model, ids).values
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    for layer in range(1, config.n_layers + 1):
        shorter = config.model_copy(update={"n_layers": layer})
        kept = {
            name: weight
            for name, weight in weights.items()
            if not name.startswith("blocks.") or int(name.split(".")[1]) < layer
        }
        expected = NumpyTransformer(shorter, kept).forward(ids.numpy())
        assert_near(expected, logit_lens(model, values[Site("residual", layer)]).detach())


@settings(max_examples=20)
@any_model
def test_a_head_without_output_is_a_head_with_zeros_behind_it(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    model, ids = drawn(config, batch, seed, data)
    layer = data.draw(st.integers(0, config.n_layers - 1))
    head = data.draw(st.integers(0, config.n_heads - 1))

    name = f"blocks.{layer}.attention.out.weight"
    out = model.state_dict()[name].numpy().copy()
    out[:, head * config.d_head : (head + 1) * config.d_head] = 0
    edits = removal([(Site("heads", layer), head)])
    assert_near(twin_logits(model, ids, {name: out}), model.logits(run(model, ids, edits).hidden).detach())

    down = f"blocks.{layer}.feed_forward.down"
    zeros = {key: np.zeros_like(model.state_dict()[key].numpy()) for key in model.state_dict() if key.startswith(down)}
    edits = removal([(Site("feed_forward", layer), None)])
    assert_near(twin_logits(model, ids, zeros), model.logits(run(model, ids, edits).hidden).detach())


@settings(max_examples=15)
@any_model
def test_losses_are_those_of_the_twin(config: ModelConfig, batch: int, seed: int, data: st.DataObject) -> None:
    ids = drawn(config, batch, seed, data)[1]
    model = random_model(config, seed)  # losses are in float32 wherever they are measured
    counted = (random_ids(batch, ids.shape[1], seed + 1) % 2).numpy().astype(np.float32)
    counted[0, 0] = 1
    texts = Batch(ids.numpy(), random_ids(batch, ids.shape[1], seed + 2).numpy(), counted)
    logits = torch.from_numpy(numpy_twin(model).forward(ids.numpy()))
    log_p = logits.log_softmax(-1).gather(-1, torch.from_numpy(texts.targets)[..., None])[..., 0].numpy()
    found, _ = losses(model, texts)
    np.testing.assert_allclose(found.loss, -(log_p * counted).sum(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.n_tokens, counted.sum(1))


@settings(max_examples=15)
@any_model
def test_patching_brings_all_of_the_answer_where_all_of_the_difference_is(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    model, ids = drawn(config, 1, seed, data)
    other = ids.clone()
    place = data.draw(st.integers(0, ids.shape[1] - 1))
    other[0, place] = (other[0, place] + 1) % model.vocab_size
    found = patching(model, ids[0], other[0])
    if found is None:  # a window hides the difference from the last token
        return
    # The stream at the start differs at that place alone; at the end only the last position is read.
    start, end = found.residual[0], found.residual[-1]
    if abs(found.difference - found.other_difference) < 1e-3:  # shares of next to nothing are roundings
        return
    np.testing.assert_allclose(start, np.arange(len(start)) == place, atol=1e-2)
    np.testing.assert_allclose(end, np.arange(len(end)) == len(end) - 1, atol=1e-2)
    assert found.heads.shape == (config.n_layers, config.n_heads)


def test_a_head_that_always_says_the_same_is_worth_nothing_beside_its_mean() -> None:
    model, weights = random_model(small_config(norm="none")), np.ones((3, 6), np.float32)
    texts = Batch(random_ids(3, 6).numpy(), random_ids(3, 6, seed=1).numpy(), weights)
    with torch.no_grad():  # without norms, a value of zero rows is zero whatever the text
        model.state_dict()["blocks.1.attention.qkv.weight"][-16:] = 0
        model.state_dict()["blocks.0.feed_forward.down.weight"][:] = 0
    hows: list[Ablation] = ["zero", "mean"]
    for how in hows:
        costs = {(cost.site, cost.head): cost for cost in ablations(model, texts, how)}
        assert len(costs) == 2 * (4 + 2)
        for part, cost in costs.items():
            idle = part[0] in (Site("attention", 1), Site("feed_forward", 0), Site("heads", 1))
            assert (cost.loss == 0 and cost.standard_error == 0) == idle, part
    # Where what is written is constant but not zero, its mean is all of it.
    usual = run(model, torch.from_numpy(texts.inputs))
    means = means_of(usual, texts)
    constant = removal([(Site("feed_forward", 0), None)], {Site("feed_forward", 0): means[Site("feed_forward", 0)]})
    assert torch.equal(run(model, torch.from_numpy(texts.inputs), constant).hidden, usual.hidden)
