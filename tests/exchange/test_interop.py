"""Other people's tools on an exported folder, where they are installed: `pip install lm-eval nnsight transformer-lens`.

They bring many packages with them, so neither the project's own files nor CI install them.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.analysis.minimal_pairs import accuracy_by_group, summarise_pairs
from lm.corpus.minimal_pairs import MinimalPair
from lm.exchange.check import logits_of
from lm.exchange.export import export_transformers
from lm.model.transformer import Transformer
from tests.exchange.test_export import GREEDILY, exported

WORDS = ["the", "fox", "hen", "den", "egg", "tree", "old", "blue", "lived", "had", "was", "afraid", "under"]


def pairs() -> list[dict[str, str]]:
    """Sentences, each beside the same words in another order."""
    generator = torch.Generator().manual_seed(6)
    orders = [torch.randperm(len(WORDS), generator=generator)[:6].tolist() for _ in range(60)]
    return [
        {
            "sentence_good": " ".join(WORDS[i] for i in order),
            "sentence_bad": " ".join(WORDS[i] for i in reversed(order)),
            "group": "order",
        }
        for order in orders
    ]


@pytest.mark.slow
def test_lm_eval_has_the_same_accuracy_on_minimal_pairs(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    model, bpe = exported()
    export_transformers(tmp_path / "theirs", model, bpe, "f32", GREEDILY, "")
    rows = pairs()
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "pairs",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(tmp_path / "pairs.jsonl")}},
        "validation_split": "validation",
        "output_type": "multiple_choice",
        "doc_to_text": "",
        "doc_to_target": 0,
        "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
        "metric_list": [{"metric": "acc"}],
    }
    theirs: Any = simple_evaluate(model=HFLM(pretrained=str(tmp_path / "theirs"), device="cpu"), tasks=[task])
    ours = Transformer(model.config, bpe.vocab_size)
    ours.load_state_dict({name: torch.from_numpy(array) for name, array in model.weights.items()})
    expected = summarise_pairs(
        accuracy_by_group(ours, bpe, [MinimalPair(*(row.values())) for row in rows], batch_size=4)
    )
    accuracy = expected["minimal_pairs_accuracy"]
    assert accuracy is not None
    assert 0.2 < accuracy < 0.8
    assert theirs["results"]["pairs"]["acc,none"] == accuracy


@pytest.mark.slow
def test_nnsight_opens_the_folder(tmp_path: Path) -> None:
    nnsight = pytest.importorskip("nnsight")
    model, bpe = exported()
    export_transformers(tmp_path / "theirs", model, bpe, "f32", GREEDILY, "")
    theirs = nnsight.LanguageModel(str(tmp_path / "theirs"), device_map="cpu", dispatch=True)
    ids = [bpe.end_id, *bpe.encode("Once upon a time")]
    with theirs.trace([ids]):
        logits = theirs.lm_head.output.save()
    torch.testing.assert_close(logits, logits_of(model, torch.tensor([ids])), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_transformer_lens_opens_the_folder(tmp_path: Path) -> None:
    bridge = pytest.importorskip("transformer_lens.model_bridge").TransformerBridge
    model, bpe = exported()
    export_transformers(tmp_path / "theirs", model, bpe, "f32", GREEDILY, "")
    theirs = bridge.boot_transformers(str(tmp_path / "theirs"), device="cpu")
    ids = torch.tensor([[bpe.end_id, *bpe.encode("Once upon a time")]])
    logits, cache = theirs.run_with_cache(ids)
    ours = logits_of(model, ids)
    torch.testing.assert_close(logits, ours, rtol=0, atol=1e-4)
    patterns = cache["blocks.0.attn.hook_pattern"]
    assert patterns.shape == (1, model.config.n_heads, ids.shape[1], ids.shape[1])
    torch.testing.assert_close(patterns.sum(-1), torch.ones(patterns.shape[:-1]))
