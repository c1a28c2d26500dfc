"""Tests of experiments/compare/comparison.py and table.py on results made by hand."""

import csv
import io
import math
from dataclasses import replace

import pytest

from experiments.compare.comparison import Comparison
from experiments.compare.table import as_csv, as_markdown, as_text, remarks, table
from experiments.run.results import named_metrics
from tests.experiments.results_by_hand import made_comparison, made_finished, made_run, made_set

FALLING = [7.0, 5.0, 4.0]
BASE = [made_run("base", seed) for seed in (1, 2)]
NONE = [made_run("none", seed, model_norm="none") for seed in (1, 2)]
WIDE = [made_run("wide", seed, model_d_model=256, train_steps=50) for seed in (1, 2)]


def test_rows_have_means_spreads_and_differences_to_the_baseline() -> None:
    comparison = made_comparison(
        made_set(*BASE, *NONE),
        [
            made_finished(BASE[0], 0.50, FALLING),
            made_finished(BASE[1], 0.52, FALLING),
            made_finished(NONE[0], 0.60, FALLING),
            made_finished(NONE[1], 0.66, FALLING),
        ],
    )
    header, rows = table(comparison, "bits_per_byte")
    base, none = (dict(zip(header, row, strict=True)) for row in rows)
    assert base["bits per byte"] == "0.5100 *"
    assert base["note"] == "baseline"
    assert base["difference"] == ""
    assert none["changes"] == "norm=none"
    assert none["difference"] == "+0.1200"
    assert none["standard error"] == "0.0200"  # seed by seed, the differences are 0.10 and 0.14
    assert none["p"] == "0.1051"  # t = 6 with one degree of freedom
    assert comparison.best("accuracy") == "base"
    assert remarks(comparison, "bits_per_byte") == [
        "p: how likely so large a difference is by luck alone (Student's t, 1 degree of freedom); above 0.05 it shows "
        "nothing"
    ]


def test_experiments_are_compared_by_what_the_models_write() -> None:
    told = [(BASE[0], 0.25), (BASE[1], 0.35), (NONE[0], 0.2), (NONE[1], 0.2)]
    comparison = made_comparison(
        made_set(*BASE, *NONE),
        [
            made_finished(run, 0.5, FALLING, **named_metrics("metrics/stories.json", {"grammar_follows": share}))
            for run, share in told
        ],
    )
    header, rows = table(comparison, "stories.grammar_follows")
    assert header[3] == "stories.grammar follows"
    assert [row[3] for row in rows] == ["0.3000 *", "0.2000"]  # more is better


def test_several_comparisons_are_corrected_and_one_seed_says_nothing() -> None:
    one = made_run("one", 3)
    finished = [made_finished(run, value, FALLING) for run, value in
                zip([*BASE, *NONE, *WIDE, one], [0.5, 0.52, 0.6, 0.62001, 0.7, 0.72, 0.5], strict=True)]  # fmt: skip
    comparison = made_comparison(made_set(*BASE, *NONE, *WIDE, one), finished)
    assert remarks(comparison, "loss") == [
        "p: how likely so large a difference is by luck alone (Student's t, 1 to 2 degrees of freedom, corrected for 3 "
        "comparisons (Holm)); above 0.05 it shows nothing"
    ]
    header, rows = table(comparison, "loss")
    assert [row[header.index("p")] for row in rows[:3]] == ["", "<0.0001", "<0.0001"]
    alone = made_comparison(made_set(BASE[0], NONE[0]), [finished[0], finished[2]])
    assert remarks(alone, "loss") == [
        "nothing can be said about how much of these differences is luck: that needs at least two seeds"
    ]


def test_a_run_that_diverged_is_shown_and_kept_out_of_the_mean() -> None:
    comparison = made_comparison(
        made_set(*BASE, *NONE, *WIDE),
        [
            made_finished(BASE[0], 0.50, FALLING),
            made_finished(BASE[1], 0.52, FALLING),
            made_finished(NONE[0], 0.60, FALLING),
            made_finished(NONE[1], 0.40, [7.0], diverged=True),
            made_finished(WIDE[0], 0.45, [7.0, 5.0, 6.5]),  # ends more than a fifth above its lowest loss
            made_finished(WIDE[1], 0.47, [7.0, 9.0, 8.0]),  # above the loss of a guess among 2,048 tokens
        ],
    )
    header, rows = table(comparison, "bits_per_byte")
    _, none, wide = (dict(zip(header, row, strict=True)) for row in rows)
    assert (none["bits per byte"], none["note"]) == ("0.6000", "1 diverged")
    assert (wide["bits per byte"], wide["note"], wide["difference"]) == ("(0.4600)", "diverged", "")
    assert comparison.best("bits_per_byte") == "base"


@pytest.mark.parametrize("nothing", [None, math.inf, math.nan])
def test_metrics_that_are_no_finite_numbers_are_left_out(nothing: float | None) -> None:
    broken = [made_finished(run, 0.6, None, loss=nothing, accuracy=nothing, perplexity=nothing) for run in NONE]
    for run in broken:
        run.result.metrics["bits_per_byte"] = nothing
    comparison = made_comparison(
        made_set(*BASE, *NONE),
        [
            made_finished(BASE[0], 0.50, FALLING),
            made_finished(BASE[1], 0.52, FALLING, perplexity=None),
            *broken,
        ],
    )
    header, rows = table(comparison, "bits_per_byte")
    base, none = (dict(zip(header, row, strict=True)) for row in rows)
    assert (base["bits per byte"], base["note"]) == ("0.5100 *", "baseline")
    assert (none["bits per byte"], none["note"]) == ("(none)", "diverged")
    assert [row["diverged"] for row in csv.DictReader(io.StringIO(as_csv(comparison)))] == ["false"] * 2 + ["true"] * 2


def test_missing_runs_are_named() -> None:
    comparison = made_comparison(made_set(*BASE, *NONE), [made_finished(BASE[0], 0.5, None)])
    header, rows = table(comparison, "loss")
    (base,) = (dict(zip(header, row, strict=True)) for row in rows)
    assert (base["seeds"], base["loss"], base["spread"]) == ("1", "1.0000 *", "")
    assert remarks(comparison, "loss") == [
        "not known whether it diverged, because its training curve is not here: made-base-s1; `dvc pull` fetches it, "
        "if the stage plot was part of the run",
        "without a result: made-base-s2 (not run), made-none (not run)",
    ]


def test_a_run_that_did_not_measure_the_metric_of_its_set_has_no_result() -> None:
    measured, other = made_finished(BASE[0], 0.5, FALLING), made_finished(BASE[1], 0.6, FALLING)
    other = replace(other, curves=replace(other.curves, not_made=frozenset({"bits_per_byte", "loss"})))
    comparison = made_comparison(made_set(*BASE), [measured, other])
    assert [run.definition.name for _, run in comparison.runs] == ["made-base-s1"]
    assert comparison.missing == ("made-base-s2 (has no bits_per_byte)",)


def test_a_metric_that_a_run_did_not_make_is_no_result_and_no_sign_that_it_diverged() -> None:
    run = made_finished(BASE[0], 0.5, FALLING)
    run = replace(run, curves=replace(run.curves, not_made=frozenset({"loss"})))
    (_, kept), *_ = made_comparison(made_set(*BASE), [run]).runs
    assert (kept.value("loss"), kept.value("bits_per_byte"), kept.diverged) == (None, 0.5, False)


def test_chat_models_whose_curves_weigh_tokens_in_different_ways_get_a_warning() -> None:
    runs = [made_run("base"), made_run("all", finetune_learn="all"), made_run("rate", finetune_learning_rate=1.0)]
    finished = [made_finished(run, 0.5, FALLING, **{"chat.loss": 0.4}) for run in runs]
    of_chat = replace(made_set(*runs), metric="chat.loss")

    def warnings(comparison: Comparison) -> list[str]:
        return [line for line in remarks(comparison, "chat.loss") if "curves" in line]

    (warning,) = warnings(made_comparison(of_chat, finished))
    assert warning.startswith("the curves show the loss as finetune.learn weighs its tokens")
    assert warnings(made_comparison(replace(of_chat, runs=(runs[0], runs[2])), [finished[0], finished[2]])) == []
    assert warnings(made_comparison(made_set(*runs), finished)) == []  # the curves are those of base models


def test_a_set_without_its_baseline_has_no_differences() -> None:
    comparison = made_comparison(made_set(*BASE, *NONE), [made_finished(run, 0.6, FALLING) for run in NONE])
    assert comparison.baseline is None
    header, rows = table(comparison, "bits_per_byte")
    assert rows[0][header.index("difference")] == ""


def test_a_set_without_results_says_what_to_run() -> None:
    with pytest.raises(ValueError, match=r"^made: has no results from this commit; python -m experiments run made$"):
        made_comparison(made_set(*BASE), [])


def test_parameters_that_all_runs_have_but_not_the_definition_are_named_once() -> None:
    elsewhere = [made_run("base", seed, data_source="files") for seed in (1, 2)]
    other = made_run("none", 1, model_norm="none", data_source="files", train_steps=7)
    comparison = made_comparison(
        made_set(*BASE, NONE[0]),
        [made_finished(run, 0.5, FALLING) for run in elsewhere] + [made_finished(other, 0.6, FALLING)],
    )
    assert remarks(comparison, "loss") == [
        "p: how likely so large a difference is by luck alone (Student's t, 1 degree of freedom); above 0.05 it shows "
        "nothing",
        "all with data.source=files",
        "not as defined now: made-none-s1 has train.steps=7",
    ]


def test_text_markdown_and_csv_hold_the_same() -> None:
    finished = [
        made_finished(run, 0.5 + i / 100, FALLING, n_parameters=10 ** (i + 3)) for i, run in enumerate([*BASE, *WIDE])
    ]
    timed = replace(finished[0].curves, tokens_per_s=9800.0, utilisation=0.314)
    comparison = made_comparison(made_set(*BASE, *WIDE), [replace(finished[0], curves=timed), *finished[1:]])
    cells = table(comparison, "bits_per_byte")
    assert [row[cells[0].index("tokens/s") :][:2] for row in cells[1]] == [["9,800", "31%"], ["", ""]]
    assert cells[0][-2:] == ["MFU", "note"]
    assert as_text(cells).splitlines()[3].split("  ")[0] == "wide"
    header, rule, *rows_of_text = as_text(cells).splitlines()
    starts = [i for i in range(len(rule)) if rule[i] == "-" and rule[i - 1 : i] != "-"]
    for line in (header, *rows_of_text):  # no cell extends into the gap before the next column
        assert all(line[start - 2 : start].strip() == "" for start in starts[1:])
    lines = as_markdown(cells).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "| **0.5050** |" in lines[2]
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [row["run"] for row in rows] == ["made-base-s1", "made-base-s2", "made-wide-s1", "made-wide-s2"]
    assert [row["model.d_model"] for row in rows] == ["128", "128", "256", "256"]
    assert [row["bits_per_byte"] for row in rows] == ["0.5", "0.51", "0.52", "0.53"]
    assert rows[0]["diverged"] == "false"


def test_a_scaling_law_is_fitted_where_sizes_and_budgets_are_swept() -> None:
    runs = [made_run(f"{n}-{d}", train_tokens=d, model_d_model=n) for n in (32, 64, 128) for d in (1000, 4000, 16000)]
    finished = [
        made_finished(
            run,
            0.4 + 3 / (n := run.overrides["model.d_model"] ** 2) ** 0.5 + 5 / run.overrides["train.tokens"] ** 0.4,
            FALLING,
            n_parameters=n,
            tokens=run.overrides["train.tokens"],
        )
        for run in runs
    ]
    law = made_comparison(made_set(*runs, against="n_parameters", by="train.tokens"), finished).scaling_law(
        "bits_per_byte"
    )
    assert law is not None
    assert law.law.irreducible == pytest.approx(0.4, rel=0.01)
    assert law.law.size_exponent == pytest.approx(0.5, rel=0.02)
    one_line = made_comparison(made_set(*runs, against="n_parameters"), finished)
    assert one_line.scaling_law("bits_per_byte") is None
    few = made_comparison(made_set(*runs[:3], against="n_parameters", by="train.tokens"), finished[:3])
    assert few.scaling_law("loss") is None
    assert remarks(few, "loss")[-1] == "no scaling law: needs at least three sizes, got 1"
    assert few.why_no_scaling_law("accuracy") is None
