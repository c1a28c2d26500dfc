"""The report: what it says of hand-made comparisons, and how it looks and behaves in a real browser."""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from experiments.compare.comparison import Comparison, Finished
from experiments.compare.curves import Curves
from experiments.define.definitions import ExperimentSet, Run, flatten
from experiments.report import report
from experiments.report.charts import curves, final
from experiments.report.plot_page import vega_bundle
from experiments.report.report import finding, sections, write_report
from experiments.run.engine import Result
from tests.experiments.browser import CHROMIUM, Browser
from tests.experiments.made import PARAMS, made_comparison

PROMPTS = ["", "Once upon a time"]
SAMPLES = """# Samples

temperature 0.8, top-k None, top-p 0.95, seed 1. Prompts in bold.

> A cat said, "I <script>document.title = 'hacked'</script> & purr."
> ---
> It slept.

---

> **Once upon a time**, there was a {name} who told a long story about a dog, a kite and the rain. …"""


@pytest.fixture(scope="module", autouse=True)
def one_bundle() -> Iterator[None]:
    """Vega is put together once, not for every report."""
    bundle = vega_bundle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "vega_bundle", lambda: bundle)
        yield


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory: a repository whose HEAD stands for the commit of an experiment."""
    path = tmp_path_factory.mktemp("repository")
    git = ["git", "-C", str(path), "-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    YAML().dump(PARAMS | {"sample": PARAMS["sample"] | {"prompts": PROMPTS}}, path / "params.yaml")
    subprocess.run([*git, "add", "params.yaml"], check=True)
    for message in ("baseline", "experiment"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


def table(n: int, end: float, rise: float = 0.0, timed: bool = True) -> pd.DataFrame:
    """A curve from ln 2048 to `end`, with noise, that may rise at its end."""
    steps = np.arange(1, n + 1) * 10
    noise = np.random.default_rng(n).normal(0, 0.02, n)
    losses = end + (7.6 - end) * np.exp(-steps / 90) + noise + rise * np.maximum(0, steps - 5 * n) / n
    columns = {"step": steps, "tokens": steps * 2048, "loss": losses}
    return pd.DataFrame(columns | ({"elapsed_s": steps * 0.21} if timed else {}))


def finished(run: Run, bits_per_byte: float, curves: Curves, diverged: bool = False, **metrics: float) -> Finished:
    values = {"bits_per_byte": bits_per_byte, "loss": 2.4 * bits_per_byte, "accuracy": 0.5, "n_parameters": 1_000_000}
    values |= {"tokens": 1_024_000, "vocab_size": 2048, "diverged": diverged} | metrics
    parameters = flatten(PARAMS) | {"sample.prompts": PROMPTS} | run.overrides
    result = Result(run.name, "HEAD", "done", parameters, values, {})
    return Finished(run, result, curves, diverged)


def ablations() -> Comparison:
    """Unequal lengths, a curve that is missing, a run that diverged, one that failed, one that was not timed."""
    asks = {
        "baseline": "What are the others measured against?",
        "no-norm": "Does a model this shallow need its norms?",
        "longer": "What do twice the steps bring?",
        "sgd": "Is momentum alone enough?",
        "away": "Where are its curves?",
    }
    changes: dict[str, dict[str, Any]] = {
        "baseline": {},
        "no-norm": {"model.norm": "none"},
        "longer": {"train.steps": 900},
        "sgd": {"train.optimizer": "sgd"},
        "away": {"model.positions": "none", "data.train": ["my stories.txt"]},
    }
    runs = [
        Run(f"abl-{name}-s{seed}", name, seed, asks[name], {"train.batch_size": 8, **changes[name], "seed": seed})
        for name in asks
        for seed in (1, 2)
    ]
    runs_by_name = {run.name: run for run in runs}

    def done(name: str, bits: float, n: int, rise: float = 0.0, diverged: bool = False, timed: bool = True) -> Finished:
        run = runs_by_name[f"abl-{name}"]
        machine = "AMD EPYC, 2 cores" if timed else None
        text = SAMPLES.replace("{name}", run.experiment)
        train, valid = table(n, 2.4 * bits, rise, timed), table(n // 2, 2.4 * bits, rise, timed)
        valid[["step", "tokens"]] *= 2
        return finished(run, bits, Curves(train, valid, text, machine, 9800.0 if timed else None), diverged)

    found = [
        done("baseline-s1", 0.870, 50),
        done("baseline-s2", 0.874, 50),
        done("no-norm-s1", 0.951, 50, timed=False),
        done("no-norm-s2", 1.9, 30, rise=900, diverged=True),
        done("longer-s1", 0.842, 90),
        done("longer-s2", 0.838, 90),
        done("sgd-s1", 2.1, 4, rise=3000, diverged=True),
        done("sgd-s2", 2.2, 6, rise=3000, diverged=True),
        finished(runs_by_name["abl-away-s1"], 0.9, Curves(None, None, None, None, None)),
    ]
    one = ExperimentSet("abl", "What is each part worth, & is <b> escaped?", None, tuple(runs), "baseline", None, None)
    return made_comparison(one, found)


def sweep(by: str | None = None) -> Comparison:
    """A learning rate with one seed, at two batch sizes where `by` says so; the highest diverges."""
    rates = [0.0003, 0.001, 0.003, 0.01, 1.0]
    runs, found = [], []
    for rate in rates:
        for size in (4, 16) if by else (8,):
            name = f"{rate:g}" + (f"-{size}" if by else "")
            run = Run(f"lr-{name}", name, None, "Which?", {"train.learning_rate": rate, "train.batch_size": size})
            bits = 0.8 + 0.05 * math.log10(rate / 0.003) ** 2 + size / 500 + (2 if rate == 1 else 0)
            runs.append(run)
            found.append(finished(run, bits, Curves(table(40, 2 * bits), None, None, None, None), rate == 1))
    baseline = runs[2].experiment
    return made_comparison(ExperimentSet("lr", "Which?", None, tuple(runs), baseline, "train.learning_rate", by), found)


def scaling() -> Comparison:
    """Model sizes by token budgets, enough of them for a law, none of which diverges."""
    runs, found = [], []
    for width in (32, 64, 128):
        for n_tokens in (256_000, 512_000, 1_024_000):
            name = f"{width}-{n_tokens}"
            changes = {"model.d_model": width, "train.tokens": n_tokens}
            run = Run(f"scaling-{name}", name, None, "How does it fall?", changes)
            size = 2048 * width + 48 * width**2
            bits = 0.5 + 30 / size**0.4 + 300 / n_tokens**0.5 + 0.002 * math.sin(width + n_tokens)
            curves = Curves(table(n_tokens // 20480, 2.4 * bits, timed=False), None, SAMPLES, None, None)
            runs.append(run)
            found.append(finished(run, bits, curves, n_parameters=size, tokens=n_tokens))
    baseline = runs[0].experiment
    one = ExperimentSet("scaling", "How does it fall?", None, tuple(runs), baseline, "n_parameters", "train.tokens")
    return made_comparison(one, found)


SETS = {"ablations": ablations, "sweep": sweep, "scaling": scaling}


@pytest.fixture
def written(repository: Path, tmp_path: Path) -> Callable[[Comparison], str]:
    def write(comparison: Comparison) -> str:
        write_report(comparison, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


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


def test_it_loads_nothing_and_runs_no_text(written: Callable[[Comparison], str]) -> None:
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
        "Seconds were taken on AMD EPYC, 2 cores for 7 of 9 runs.",
    ):
        assert words in text


def test_commands_repeat_what_was_run(written: Callable[[Comparison], str], repository: Path) -> None:
    comparison = ablations()
    longer = next(row for row in comparison.rows if row.experiment == "longer")
    longer.finished[0].result.parameters["train.steps"] = 800  # not as the definition says
    text = Page(written(comparison)).text
    parent = subprocess.run(["git", "rev-parse", "HEAD^"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"git checkout {parent}\n" in text
    assert "\ndvc exp run -n abl-longer-s1 -S seed=1 -S train.steps=800 -S train.batch_size=8\n" in text
    assert "\ndvc exp run -n abl-away-s2 -S train.batch_size=8 -S model.positions=none" in text
    assert """-S 'data.train=["my stories.txt"]'""" in text
    assert f"from commit {parent} and its params.yaml, with train.batch_size=8." in text


def test_the_finding_is_read_from_the_numbers() -> None:
    first, second, third, *_ = finding(ablations())
    assert first == "“longer” has the fewest bits per byte of 4 experiments: 0.8400."
    assert re.fullmatch(r"That is 0\.0320 less than the baseline \(standard error 0\.00\d\d\)\.", second)
    assert third == "The best of many is picked by its result, which flatters it."
    assert finding(sweep())[1:3] == [
        "It is the baseline; next comes “0.001” with 0.0114 more.",
        "With one seed each, how much of it is chance is not known.",
    ]


def test_a_finding_without_a_baseline_or_a_run_that_held() -> None:
    comparison = sweep()
    assert finding(replace(comparison, baseline=None))[:1] == [
        "“0.003” has the fewest bits per byte of 4 experiments: 0.8160."
    ]
    alone = replace(comparison, rows=comparison.rows[-1:])
    assert finding(alone) == ["Diverged: “1”."]


def test_differences_within_the_noise_are_called_that() -> None:
    comparison = ablations()
    noisy = replace(comparison.rows[2].differences["bits_per_byte"], standard_error=0.02)
    row = replace(comparison.rows[2], differences={"bits_per_byte": noisy})
    sentences = finding(replace(comparison, rows=(*comparison.rows[:2], row, *comparison.rows[3:])))
    assert "They are less than two standard errors apart: these seeds do not tell which is better." in sentences


def test_vocabularies_that_differ_are_a_warning(written: Callable[[Comparison], str]) -> None:
    comparison = sweep()
    comparison.rows[0].finished[0].result.metrics["vocab_size"] = 4096
    assert "Vocabularies of 2,048, 4,096 cut a text into different tokens" in Page(written(comparison)).text


def test_sections_keep_lines_that_look_like_a_rule() -> None:
    texts = sections(SAMPLES)
    assert texts[0].split("\n")[1:] == ["---", "It slept."]
    assert texts[1].startswith("**Once upon a time**, there")
    assert len(texts) == 2


def test_diverged_runs_do_not_squash_the_rest() -> None:
    chart = curves(ablations(), "valid")
    assert chart is not None
    low, high = chart["spec"]["encoding"]["y"]["scale"]["domain"]
    assert low < 2.1
    assert 7 < high < 30
    swept = final(sweep(), "bits_per_byte")
    assert swept is not None
    low, high = swept["spec"]["encoding"]["y"]["scale"]["domain"]
    assert 0.816 > low > 0.75
    assert 0.9 < high < 1.0


def test_losses_that_are_no_numbers_are_left_out_and_a_long_curve_is_thinned() -> None:
    run = Run("one", "one", 1, "?", {})
    long = table(20000, 2.0)
    long.loc[19998:, "loss"] = [math.nan, math.inf]
    long.loc[5, "elapsed_s"] = math.nan
    one = ExperimentSet("one", "?", None, (run,), None, None, None)
    chart = curves(made_comparison(one, [finished(run, 1.0, Curves(long, None, None, None, None), True)]), "train")
    assert chart is not None
    columns = chart["runs"][0]["columns"]
    assert len(columns["loss"]) <= 6667
    assert columns["step"][-1] == 199980
    json.dumps(chart, allow_nan=False)


def test_a_run_that_diverged_at_once_is_told(written: Callable[[Comparison], str]) -> None:
    comparison = sweep()
    each = comparison.rows[-1].finished[0]
    empty = replace(each, curves=replace(each.curves, train=table(1, 2.0).iloc[:0], valid=table(1, 2.0).iloc[:0]))
    row = replace(comparison.rows[-1], finished=(empty,))
    text = Page(written(replace(comparison, rows=(*comparison.rows[:-1], row)))).text
    assert "No loss was measured before the end of 1, seed 1337, diverged." in text


def test_a_sweep_has_a_point_for_each_run_and_a_line_through_what_held() -> None:
    chart = final(sweep(by="train.batch_size"), "bits_per_byte")
    assert chart is not None
    kinds = [row["is"] for row in chart["rows"]]
    assert (kinds.count("run"), kinds.count("mean")) == (10, 8)
    assert chart["spec"]["encoding"]["x"]["scale"]["type"] == "log"
    assert {row["series"] for row in chart["rows"]} == {"4", "16"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def shown(browser: Browser, tmp_path: Path, n_charts: int, name: str, width: int, mobile: bool = False) -> None:
    browser.open(tmp_path / "report.html", width, 800, mobile)
    browser.wait(f"document.documentElement.dataset.charts == {n_charts}")
    if folder := os.environ.get("STORYLINE_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"{name}-{width}.png")


def marks(browser: Browser, chart: str, kind: str) -> int:
    """How many marks of a kind a chart has that lead anywhere."""
    return int(browser.value(f"[...document.querySelectorAll('#{chart} .mark-{kind} path')]"
                             ".filter(e => e.getAttribute('d')?.length > 5).length"))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (360, True)])
@pytest.mark.parametrize(("name", "n_lines"), [("ablations", 8), ("sweep", 5), ("scaling", 9)])
def test_a_browser_draws_it_within_its_width(
    browser: Browser,
    written: Callable[[Comparison], str],
    tmp_path: Path,
    name: str,
    n_lines: int,
    width: int,
    mobile: bool,
) -> None:
    written(SETS[name]())
    shown(browser, tmp_path, 2, name, width, mobile)
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.value("document.documentElement.dataset.error || ''") == ""
    assert browser.value("document.title") != "hacked"
    assert browser.value("window.innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert marks(browser, "train", "line") == n_lines
    assert marks(browser, "final", "line") == {"ablations": 0, "sweep": 1, "scaling": 6}[name]  # means; laws
    assert marks(browser, "final", "symbol") >= {"ablations": 0, "sweep": 5, "scaling": 9}[name]
    assert browser.value("document.querySelector('#train svg').getBoundingClientRect().right") <= width


@pytest.mark.slow
def test_the_curves_can_be_explored(browser: Browser, written: Callable[[Comparison], str], tmp_path: Path) -> None:
    written(ablations())
    shown(browser, tmp_path, 2, "explored", 1280)
    title = "document.querySelector('#valid .role-axis-title text').textContent"
    assert browser.value(title) == "steps"
    browser.value("document.querySelector('[data-value=elapsed_s]').click()")
    browser.wait(f"{title} == 'seconds of training'")
    assert marks(browser, "valid", "line") == 7  # one was not timed
    browser.value("document.querySelector('[data-value=linear]').click()")
    browser.value("document.querySelector('.chips [data-experiment=longer]').click()")
    faint = (
        "[...document.querySelectorAll('#valid .mark-line path')].filter(e => e.getAttribute('opacity') < 0.2).length"
    )
    browser.wait(f"{faint} == 5")
    assert browser.value("document.querySelectorAll('article:not([hidden])').length") == 2
    assert browser.value("document.querySelectorAll('[data-experiment=longer][aria-pressed=true]').length") == 2
    where = "JSON.stringify(document.querySelector('#valid svg').getBoundingClientRect())"
    browser.value("document.querySelector('#valid').scrollIntoView()")
    box = json.loads(browser.value(where))
    browser.point_at(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    browser.wait("document.querySelector('#vg-tooltip-element')?.classList.contains('visible')")
    tooltip = browser.value("document.querySelector('#vg-tooltip-element').textContent")
    assert re.search(r"longer, seed [12].*step.*tokens.*loss.*seconds", tooltip, re.DOTALL)
    assert browser.problems == []


@pytest.mark.slow
def test_a_tap_says_what_a_point_is(browser: Browser, written: Callable[[Comparison], str], tmp_path: Path) -> None:
    written(sweep())
    shown(browser, tmp_path, 2, "tapped", 360, mobile=True)
    browser.value("document.querySelector('#final').scrollIntoView()")
    box = json.loads(browser.value("JSON.stringify(document.querySelector('#final svg').getBoundingClientRect())"))
    browser.tap(box["x"] + box["width"] - 20, box["y"] + 20)  # where the diverged run is drawn
    browser.wait("document.querySelector('#vg-tooltip-element')?.classList.contains('visible')")
    tooltip = browser.value("document.querySelector('#vg-tooltip-element').textContent")
    assert tooltip == "1, seed 1337, divergedtrain.learning_rate1bits per byte3.134246"
    browser.tap(5, box["y"] + box["height"] + 30)
    browser.wait("!document.querySelector('#vg-tooltip-element').classList.contains('visible')")
