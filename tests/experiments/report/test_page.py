"""Tests of experiments/report/page.py on comparisons made by hand: what the page says, and that its data is safe."""

import io
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from experiments.compare.comparison import Comparison
from experiments.compare.curves import Sample
from tests.experiments.report.comparisons import ablations, sweep


class Page(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_same_results_give_the_same_bytes(written: Callable[[Comparison], str]) -> None:
    assert written(ablations()) == written(ablations())


def test_it_loads_nothing_and_no_text_runs_as_a_script(written: Callable[[Comparison], str]) -> None:
    page = Page(written(ablations()))
    assert [(tag, at) for tag, at in page.elements if {"src", "href", "srcset", "data"} & at.keys()] == []
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3  # Vega, the charts' data, our own
    assert "<script>document.title = 'hacked'</script> & purr." in page.text
    assert "& is <b> escaped?" in page.text
    assert "default-src 'none'" in str(page.elements[2:6])


def test_data_of_the_charts_cannot_end_its_script(written: Callable[[Comparison], str]) -> None:
    comparison = ablations()
    row = replace(comparison.rows[0], experiment="</script><b>")
    text = written(replace(comparison, rows=(row, *comparison.rows[1:])))
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert "</script><b>" in {run["experiment"] for run in json.loads(data[1])["train"]["runs"]}


def test_it_shows_every_run_and_says_what_is_missing(written: Callable[[Comparison], str]) -> None:
    text = Page(written(ablations())).text
    for words in (
        "no-norm, seed 2, diverged",
        "sgd, seed 1, diverged",
        "no curves here for away, seed 1: dvc pull",
        "no samples here for away: dvc pull",
        "Diverged: “no-norm” (1 of 2 runs), “sgd” (2 of 2 runs).",
        "without a result: abl-away-s2 (not run)",
        "Does a model this shallow need its norms?",
        "Seconds were measured on AMD EPYC, 2 cores for 7 of 9 runs.",
    ):
        assert words in text


def test_samples_show_the_prompt_in_bold_and_mark_a_text_that_was_cut(written: Callable[[Comparison], str]) -> None:
    html = written(ablations())
    assert "<p><b>Once upon a time</b>, there was a longer who told a long story" in html
    assert Page(html).text.count("a dog, a kite and the rain. …") == 4  # the first seed of the experiments with samples
    assert 'purr."\n---\nIt slept.' in Page(html).text
    assert "It slept. …" not in Page(html).text


def test_what_a_user_says_to_chat_models_is_shown_once_and_in_full(written: Callable[[Comparison], str]) -> None:
    comparison = ablations()
    story = "Once there was a cat. " * 9
    answers = Sample("Hello!\n\n", "Hi.", True), Sample(f"{story}\n\nWho was it?\n\n", "A cat.", True)
    for _, run in comparison.runs:
        run.result.metrics["chat.loss"] = 0.5
    rows = tuple(
        replace(row, runs=tuple(replace(run, curves=replace(run.curves, samples=answers)) for run in row.runs))
        for row in comparison.rows
    )
    of_chat = replace(comparison.experiment_set, metric="chat.loss")
    html = written(replace(comparison, experiment_set=of_chat, rows=rows))
    assert html.count("Who was it?") == html.count("“Hello!”") == 1
    assert f'<p class="asked">{story}\n\nWho was it?</p>' in html
    assert html.count("<p>A cat.</p>") == html.count("<p>Hi.</p>") == len(rows)


def test_commands_repeat_what_was_run(written: Callable[[Comparison], str], repository: Path) -> None:
    comparison = ablations()
    longer = next(row for row in comparison.rows if row.experiment == "longer")
    longer.runs[0].result.parameters["train.steps"] = 800  # the definition has another value
    text = Page(written(comparison)).text
    parent = subprocess.run(["git", "rev-parse", "HEAD^"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"git checkout {parent}\n" in text
    assert "\ndvc exp run --temp -n abl-longer-s1 -S seed=1 -S train.steps=800 -S train.batch_size=8\n" in text
    assert "\ndvc exp run --temp -n abl-away-s2 -S train.batch_size=8 -S model.positions=none" in text
    assert """-S 'data.train=["my stories.txt"]'""" in text
    assert f"from commit {parent} and its params.yaml, with train.batch_size=8." in text


def test_a_run_whose_metrics_are_no_numbers_is_shown_as_diverged(written: Callable[[Comparison], str]) -> None:
    comparison = sweep()
    for metric in ("bits_per_byte", "loss", "accuracy", "perplexity"):
        comparison.rows[-1].runs[0].result.metrics[metric] = None
    assert "Diverged: “learning_rate=1.0”." in Page(written(comparison)).text


def test_vocabularies_that_differ_are_a_warning(written: Callable[[Comparison], str]) -> None:
    comparison = sweep()
    comparison.rows[0].runs[0].result.metrics["vocab_size"] = 4096
    assert (
        "Vocabularies of 2,048, 4,096 cut a text into different tokens, so compare their bits per byte"
        in Page(written(comparison)).text
    )


def test_a_run_that_diverged_at_once_is_named(written: Callable[[Comparison], str]) -> None:
    comparison = sweep()
    run = comparison.rows[-1].runs[0]
    empty = pd.read_csv(io.StringIO("step,tokens,loss\n"))  # its columns have no numeric type
    run = replace(run, curves=replace(run.curves, train=empty, valid=empty))
    row = replace(comparison.rows[-1], runs=(run,))
    text = Page(written(replace(comparison, rows=(*comparison.rows[:-1], row)))).text
    assert "No loss was measured before the end of learning_rate=1.0, seed 1337, diverged." in text
