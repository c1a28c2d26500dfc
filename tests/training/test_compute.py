"""How a run is computed: what is chosen, and that no choice changes more than the rounding."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo import config as tracer
from torch._inductor import config as compiler

from lm.config.train import COMPUTE_PARAMETERS
from lm.model import attend
from lm.model.transformer import Transformer
from lm.system.processor import processor_name
from lm.training import compute as module
from lm.training.batch import Batch
from lm.training.compute import ComputeChoices, choose_compute, has_fast_half, plain_instead, set_up
from lm.training.loss import linear_cross_entropy
from lm.training.torch_backend import TorchBackend
from tests.model.configs import redraw
from tests.small import model_config, train_config

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
VOCAB_SIZE = 21
# The small model has 5 thousand parameters, which 6e13 operations train on 2e9 tokens.
LONG: dict[str, Any] = {"steps": 10**8}


@pytest.fixture(autouse=True)
def state_of_pytorch() -> Iterator[None]:
    """What `set_up` changes for the whole process, put back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    padding, limit = compiler.shape_padding, tracer.recompile_limit
    yield
    compiler.shape_padding, tracer.recompile_limit = padding, limit
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def machine(patch: pytest.MonkeyPatch, compilers: tuple[str, ...] = (), capability: str = "AVX512") -> None:
    """A machine with these compilers on its path and a processor of this kind, which has no half precision."""
    patch.delenv("CXX", raising=False)
    patch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in compilers else None)
    patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    patch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Abacus")
    patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)


def choose(
    changes: dict[str, Any], model: dict[str, Any] | None = None, device: torch.device = CPU, n: int = 1
) -> tuple[ComputeChoices, list[str]]:
    return choose_compute(train_config(**changes), model_config(**(model or {})), VOCAB_SIZE, device, n)


def compiled(changes: dict[str, Any], device: torch.device = CPU) -> tuple[bool, str]:
    """Whether such a run is compiled, and the words for it."""
    compute, words = choose({"compile": "auto"} | changes, device=device)
    (word,) = (word for word in words if "compiled" in word)
    return compute.compile, word


def test_the_facts_of_a_run_hold_every_choice_and_the_words_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, ("g++",))
    compute, words = choose({"threads": 3, "recompute": True, "attention": "math"})
    assert compute.facts() == {
        "library": f"torch {torch.__version__}",
        "numpy": np.__version__,
        "device": "cpu",
        "processor": f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})",
        "precision": "fp32",
        "processes": 1,
        "shard": False,
        "threads": 3,
        "compile": False,
        "attention": "math",
        "recompute": True,
    }
    assert set(COMPUTE_PARAMETERS) <= set(compute.facts())
    assert words == [
        f"torch {torch.__version__} on cpu",
        "fp32",
        "3 threads",
        "not compiled (as train.compile says)",
        "math attention (as train.attention says)",
        "activations recomputed",
    ]


def test_a_team_s_facts_and_words_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    compute, words = choose({"threads": 1, "shard": True}, n=2)
    assert (compute.processes, compute.shard, compute.threads) == (2, True, 1)
    assert words[2:4] == ["2 processes, each with a part of the model", "1 thread each"]
    assert choose({"threads": 2}, n=2)[1][2:4] == ["2 processes", "2 threads each"]
    assert not choose({"shard": True})[0].shard  # alone there is nothing to share


def test_threads_not_asked_for_are_an_equal_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert [choose({}, n=n)[0].threads for n in (1, 2, 4, 7)] == [6, 3, 1, 1]
    assert [choose({"threads": 5}, n=n)[0].threads for n in (1, 2)] == [5, 5]
    assert choose({}, device=CUDA)[0].threads is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # torchrun, which gives each process its number
    assert choose({}, n=2)[0].threads == 6
    assert choose({}, device=CUDA)[1][0] == f"torch {torch.__version__} on NVIDIA Abacus"


@pytest.mark.parametrize("compilers", [("g++",), ("clang++",), ("g++", "clang++")])
def test_a_long_run_is_compiled_and_a_short_one_is_not(
    monkeypatch: pytest.MonkeyPatch, compilers: tuple[str, ...]
) -> None:
    machine(monkeypatch, compilers)
    assert compiled({}) == (False, "not compiled (a short run)")
    assert compiled(LONG) == (True, "compiled (a long run)")


def test_what_is_long_counts_parameters_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, ("g++",))
    monkeypatch.setattr(module, "_WORTH_COMPILING", {"cpu": 6 * 1000 * 12800, "cuda": 6 * 1000 * 25600})
    for device, n_tokens in ((CPU, 12800), (CUDA, 25600)):
        for too_few in (0, 1):
            config = train_config(compile="auto", tokens=n_tokens - too_few, batch_size=4)
            # 1000 parameters; whole steps of 4 * 8 tokens
            assert module._compile(config, 1000, 8, device)[0] == (not too_few)
    assert module._compile(train_config(compile="auto", steps=400, batch_size=4), 1000, 8, CPU)[0]
    assert not module._compile(train_config(compile="auto", steps=400, batch_size=4), 999, 8, CPU)[0]


def test_without_a_compiler_nothing_is_compiled_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert compiled(LONG) == (False, "not compiled (no C++ compiler)")
    assert compiled({"compile": False}) == (False, "not compiled (as train.compile says)")
    with pytest.raises(ValueError, match=r"^train\.compile: needs a C\+\+ compiler, g\+\+ or clang\+\+, and this"):
        compiled({"compile": True})
    assert compiled({"compile": True}, CUDA) == (True, "compiled (as train.compile says)")


def test_a_compiler_of_another_name_serves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, ("mine++",))
    monkeypatch.setenv("CXX", "mine++")
    assert compiled({"compile": True}) == (True, "compiled (as train.compile says)")


def test_shares_and_unknown_devices_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, ("g++",))
    assert compiled(LONG | {"shard": True}) == (False, "not compiled (not with train.shard)")
    assert compiled(LONG, MPS) == (False, "not compiled (no gain known on mps)")
    assert compiled(LONG | {"steps": 10**11}, CUDA)[0]


@pytest.mark.parametrize(
    ("changes", "model", "device", "expected"),
    [
        ({"precision": "bf16"}, {}, CPU, "math"),
        ({"precision": "fp16"}, {"context_length": 1024}, CPU, "math"),
        ({"precision": "bf16"}, {"context_length": 1025}, CPU, "fused"),
        ({"precision": "bf16"}, {"dropout": 0.1}, CPU, "fused"),
        ({"precision": "bf16"}, {}, CUDA, "fused"),
        ({"precision": "fp32"}, {}, CPU, "fused"),
    ],
)
def test_the_math_kernel_is_taken_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    model: dict[str, Any],
    device: torch.device,
    expected: str,
) -> None:
    machine(monkeypatch)
    compute, words = choose(changes, model, device)
    assert compute.attention == expected
    reason = "faster in half precision and short contexts" if expected == "math" else "stores no scores"
    assert f"{expected} attention ({reason})" in words


def test_attention_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    for asked in ("math", "fused"):
        for precision in ("bf16", "fp32"):
            assert choose({"attention": asked, "precision": precision})[0].attention == asked
    assert choose({"attention": "fused"}, {"dropout": 0.1})[0].attention == "fused"
    with pytest.raises(ValueError, match=r"^train\.attention: 'math' has no dropout, got model\.dropout=0\.1$"):
        choose({"attention": "math"}, {"dropout": 0.1})


SLOW = "bf16 (emulated by this processor, many times slower than precision fp32)"


def test_a_processor_that_emulates_bfloat16_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability in ("AVX2", "DEFAULT", "NO AVX", "AVX512"):
        machine(monkeypatch, capability=capability)
        assert choose({"precision": "bf16"})[1][1] == SLOW
        assert choose({"precision": "fp32"})[1][1] == "fp32"
        assert choose({"precision": "bf16"}, device=CUDA)[1][1] == SLOW
        assert choose({"precision": "bf16"}, device=MPS)[1][1] == "bf16"
    for has in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        machine(monkeypatch)
        monkeypatch.setattr(torch.cpu, has, lambda: True)
        assert choose({"precision": "bf16"})[1][1] == "bf16"
        assert has_fast_half(CPU)


FAST, PLAIN = "bf16 (this processor has instructions for it)", "fp32 (bf16 would not be faster)"


def test_the_precision_is_half_where_the_processor_is_known_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(device: torch.device) -> str:
        choices, words = choose({"precision": "auto"}, device=device)
        assert words[1].startswith(choices.precision)
        assert (choices.attention == "math") == (choices.precision == "bf16" and device.type == "cpu")
        return words[1]

    for capability in ("AVX2", "DEFAULT", "AVX512", "SVE256"):
        machine(monkeypatch, capability=capability)
        assert [chosen(device) for device in (CPU, CUDA, MPS)] == [PLAIN] * 3
    machine(monkeypatch)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert [chosen(device) for device in (CPU, CUDA, MPS)] == [FAST, FAST, PLAIN]


def test_a_backend_takes_the_precision_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(precision: str) -> tuple[float, str]:
        config = train_config(precision=precision, optimizer="muon", batch_size=2)
        backend = TorchBackend(Transformer(model_config(), VOCAB_SIZE), config, CPU)
        ids = np.random.Generator(np.random.Philox(1)).integers(0, VOCAB_SIZE, (2, 9))
        backend.gradient([Batch.of_windows(ids)], (0, 0))
        backend.update(0.1)
        return backend.gradient([Batch.of_windows(ids)], (0, 1))[0].loss, backend.compute_report.facts["precision"]

    for half in (False, True):
        machine(monkeypatch)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda half=half: half)
        assert gradient("auto") == gradient("bf16" if half else "fp32")
    assert gradient("bf16") != gradient("fp32")


def test_set_up_makes_pytorch_deterministic_with_so_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.use_deterministic_algorithms(False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_up(choose({"threads": 2})[0])
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    machine(monkeypatch)
    set_up(choose({}, device=CUDA)[0])  # which has no say in the threads
    assert torch.get_num_threads() == 2
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    set_up(choose({}, device=MPS)[0])  # where newer versions of PyTorch would refuse to train an embedding
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    set_up(choose({"compile": True}, device=CUDA)[0])
    assert not compiler.shape_padding
    assert tracer.recompile_limit >= 64


def attention(changes: dict[str, Any], model: dict[str, Any], device: torch.device = CUDA) -> str:
    """The kernel chosen."""
    return choose({"precision": "bf16", "compile": True} | changes, {"d_model": 64} | model, device)[0].attention


def test_a_gpu_takes_flex_attention_for_masks_and_for_long_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert attention({}, {"window": 4}) == attention({}, {"positions": "alibi"}) == "flex"
    long = {"context_length": 1024, "d_model": 128}
    assert attention({}, long) == "flex"
    for changes, model in (
        ({}, {}),
        ({}, {"window": 8}),  # as long as the context
        ({}, long | {"n_heads": 4}),
        ({}, long | {"context_length": 1023}),
        ({}, {"window": 4, "dropout": 0.1}),
        ({}, {"window": 4, "n_heads": 8}),
        ({"compile": False}, {"window": 4}),
        ({"precision": "fp32"}, {"window": 4}),
        ({"rows": "documents"}, {"window": 4}),
    ):
        assert attention(changes, model) == "fused"
    assert attention({"attention": "flex", "precision": "fp32"}, {}) == "flex"
    plain, words = plain_instead(
        *choose({"precision": "bf16", "compile": True}, {"window": 4, "d_model": 64}, CUDA), "it is wrong"
    )
    assert (plain.compile, plain.attention) == (False, "fused")
    assert "fused attention (flex needs compiled code)" in words
    for changes, model, got in (
        ({"compile": False}, {}, "cuda, not compiled and 32"),
        ({}, {"n_heads": 8}, "cuda, compiled and 8"),
    ):
        rule = f"train.attention: 'flex' needs device cuda, compile and heads of at least 16 features, got {got}"
        with pytest.raises(ValueError, match=f"^{rule}$"):
            attention({"attention": "flex"} | changes, model)


def computed(model: Transformer, **how: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a training step of the model, and its gradient."""
    ids = torch.from_numpy(np.random.Generator(np.random.Philox(key=5)).integers(0, VOCAB_SIZE, (3, 9)))
    model.compute_with(**how)
    model.train().zero_grad()
    torch.manual_seed(3)
    loss, _ = linear_cross_entropy(model.hidden(ids[:, :-1]), model.head_weight, ids[:, 1:], torch.full((3, 8), 1 / 24))
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "alibi, groups": {"positions": "alibi", "n_kv_heads": 1},
    "window, post": {"window": 3, "norm_position": "post", "qk_norm": True},
}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("variant", MODELS)
def test_recomputed_activations_give_the_same_bits(variant: str, dropout: float) -> None:
    model = Transformer(model_config(**MODELS[variant], dropout=dropout), VOCAB_SIZE)
    calls = []
    model.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    loss, gradients = computed(model)
    assert len(calls) == 1
    again, same = computed(model, recompute=True)
    assert len(calls) == 1 + 2  # forwards, and once more on the way back
    assert torch.equal(again, loss)
    assert gradients.keys() == same.keys() == dict(model.named_parameters()).keys()
    for name, gradient in gradients.items():
        assert torch.equal(same[name], gradient), name
        assert gradient.any(), name


@pytest.mark.parametrize("variant", MODELS)
def test_the_math_kernel_is_the_fused_one_within_rounding(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(model_config(**MODELS[variant]), VOCAB_SIZE)
    redraw(model, seed=0)  # wide, so that queries choose between keys
    loss, gradients = computed(model, attention="fused")
    taken = []
    apply: Any = attend._MathKernel.apply

    def noted(*arguments: Any) -> Any:
        taken.append(1)
        return apply(*arguments)

    monkeypatch.setattr(attend._MathKernel, "apply", noted)
    math_loss, by_math = computed(model, attention="math")
    assert len(taken) == 2  # layers
    # Losses of some nats and gradients of some tenths in float32, whose sums are in another order.
    torch.testing.assert_close(math_loss, loss, rtol=0, atol=2e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(by_math[name], gradient, rtol=1e-5, atol=1e-6)
