"""What llama.cpp itself reads, where `llama-cpp-python` is installed. It is built from source for half an hour, so
neither the project's own files nor CI install it; docs/manual/export.md says how to.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lm.exchange.check import logits_of
from lm.exchange.export import export_gguf
from lm.generation.events import collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY
from lm.model.transformer import Transformer
from lm.tokenizer.chat import prompt_ids
from tests.exchange.test_export import CONTEXT, ODD, TALK, exported
from tests.training.test_dialogues import bpe as with_roles

llama_cpp = pytest.importorskip("llama_cpp")
TEXT = "Once upon a time there was a fox. The fox's den was under the tree, and an old hen lived in it."

HOMES: list[dict[str, Any]] = [
    {},
    {"base_width": 32, "tie_embeddings": False},
    {"qk_norm": False, "bias": True},
    {"qk_norm": False, "n_kv_heads": 1, "tie_embeddings": False},
    {"qk_norm": False, "feed_forward": "relu2"},
    {"qk_norm": False, "positions": "alibi"},
    {"qk_norm": False, "norm": "layernorm", "positions": "learned", "feed_forward": "gelu_tanh"},
    {"qk_norm": False, "norm": "layernorm", "feed_forward": "gelu_tanh"},
    {"qk_norm": False, "norm": "layernorm", "feed_forward": "relu2"},
    {"qk_norm": False, "norm": "layernorm", "positions": "alibi", "feed_forward": "gelu_tanh"},
]
# Without `bias`, a layernorm's homes get biases that are zeros.
LAYERNORM = [switches | {"bias": True, "base_width": 32} for switches in HOMES if switches.get("norm") == "layernorm"]


def opened(path: Path) -> Any:
    """The model as llama.cpp computes it, with its keys and values in float32; it would round them to float16."""
    in_f32 = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    return llama_cpp.Llama(str(path), n_ctx=CONTEXT, logits_all=True, verbose=False, n_threads=1, seed=0, **in_f32)


@pytest.mark.parametrize("switches", [*HOMES, *LAYERNORM], ids=str)
def test_llama_cpp_computes_the_same(tmp_path: Path, switches: dict[str, Any]) -> None:
    model, bpe = exported(**switches)
    export_gguf(tmp_path / "gguf", model, bpe, "f32", "m")
    theirs = opened(tmp_path / "gguf" / "m-f32.gguf")
    for text in ODD:
        expected = bpe.encode(text, allow_special=True)
        assert theirs.tokenize(text.encode(), add_bos=False, special=True) == expected, text

    ids = [bpe.end_id, *bpe.encode(TEXT)]
    theirs.eval(ids)
    logits = torch.from_numpy(np.array(theirs.scores[: len(ids)]))
    ours = logits_of(model, torch.tensor([ids]))[0]
    # It reads GELU from a table in float16.
    tolerance = 1e-3 if switches.get("feed_forward") == "gelu_tanh" else 1e-5
    torch.testing.assert_close(logits, ours, rtol=0, atol=tolerance * float(ours.abs().max()))
    perplexities = [float(cross_entropy(x[:-1], torch.tensor(ids[1:])).exp()) for x in (logits, ours)]
    assert perplexities[0] == pytest.approx(perplexities[1], rel=1e-3)

    theirs.reset()
    prompt = ids[:4]
    greedy = []
    for id in theirs.generate(prompt, temp=0.0, repeat_penalty=1.0):
        greedy.append(id)
        if len(greedy) == 100:
            break
    transformer = Transformer(model.config, bpe.vocab_size)
    transformer.load_state_dict({name: torch.from_numpy(array) for name, array in model.weights.items()})
    events = generate(transformer, [prompt], GREEDY, max_new_tokens=100, end_id=bpe.vocab_size, seed=0)
    assert greedy == collect(events, 1)[0]


def test_llama_cpp_reads_a_conversation_as_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = with_roles()
    model, _ = exported(vocab_size=roles.vocab_size)
    export_gguf(tmp_path / "gguf", model._replace(chat=True), roles, "f32", "m")
    theirs = llama_cpp.Llama(str(tmp_path / "gguf" / "m-f32.gguf"), n_ctx=CONTEXT, verbose=False, n_threads=1)
    read: list[list[int]] = []
    its_own = theirs.generate

    def generate(ids: list[int], **others: Any) -> Iterator[int]:
        read.append(list(ids))
        next(its_own(ids, **others))
        yield roles.special_tokens["<|end|>"]

    monkeypatch.setattr(theirs, "generate", generate)
    talk = [{"role": message.role, "content": message.content} for message in TALK]
    answer = theirs.create_chat_completion(talk, max_tokens=5)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert read == [prompt_ids(roles, TALK)]


@pytest.mark.parametrize("switches", HOMES, ids=str)
@pytest.mark.parametrize("dtype", ["bf16", "f16", "q8_0"])
def test_llama_cpp_opens_smaller_types(tmp_path: Path, switches: dict[str, Any], dtype: Any) -> None:
    model, bpe = exported(**switches)
    report = export_gguf(tmp_path / "gguf", model, bpe, dtype, "m")
    theirs = opened(tmp_path / "gguf" / f"m-{dtype}.gguf")
    ids = [bpe.end_id, *bpe.encode(TEXT)]
    theirs.eval(ids)
    logits = torch.from_numpy(np.array(theirs.scores[: len(ids)]))
    difference = (logits - logits_of(model, torch.tensor([ids]))[0]).abs().max()
    # Not by more than rounding the weights explains. It rounds what a matrix reads, too: hence three times.
    assert 0 < float(difference) < 3 * report["largest_difference_of_logits"]
