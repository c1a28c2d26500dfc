"""How the page looks and behaves in a real browser."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.compare.comparison import Comparison
from experiments.report import plot_page
from tests.browser import CHROMIUM, Browser
from tests.experiments.report.comparisons import SETS, ablations, sweep
from tests.project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def open_page(browser: Browser, tmp_path: Path, n_charts: int, name: str, width: int, mobile: bool = False) -> None:
    """Open the written page, wait for its charts, and save a screenshot where the environment asks for one."""
    browser.open(tmp_path / "report.html", width, 800, mobile)
    browser.wait(f"document.documentElement.dataset.charts == {n_charts}")
    if folder := os.environ.get("STORYLINE_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"{name}-{width}.png")


def marks(browser: Browser, chart: str, kind: str) -> int:
    """How many marks of a kind a chart has whose path is not empty."""
    return int(browser.value(f"[...document.querySelectorAll('#{chart} .mark-{kind} path')]"
                             ".filter(e => e.getAttribute('d')?.length > 5).length"))  # fmt: skip


@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (360, True)])
@pytest.mark.parametrize(
    ("name", "n_charts", "first", "n_lines"),
    # Nine experiments get small charts, each with the baseline.
    [("ablations", 2, "train", 8), ("sweep", 2, "train", 5), ("scaling", 9, "train-0", 2)],
)
def test_a_browser_draws_it_within_its_width(
    browser: Browser,
    written: Callable[[Comparison], str],
    tmp_path: Path,
    name: str,
    n_charts: int,
    first: str,
    n_lines: int,
    width: int,
    mobile: bool,
) -> None:
    written(SETS[name]())
    open_page(browser, tmp_path, n_charts, name, width, mobile)
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.value("document.documentElement.dataset.error || ''") == ""
    assert browser.value("document.title") != "hacked"
    assert browser.value("window.innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert marks(browser, first, "line") == n_lines
    assert marks(browser, "final", "line") == {"ablations": 0, "sweep": 1, "scaling": 6}[name]  # means; laws
    assert marks(browser, "final", "symbol") >= {"ablations": 0, "sweep": 5, "scaling": 9}[name]
    assert browser.value(f"document.querySelector('#{first} svg').getBoundingClientRect().right") <= width


def test_the_curves_can_be_explored(browser: Browser, written: Callable[[Comparison], str], tmp_path: Path) -> None:
    written(ablations())
    open_page(browser, tmp_path, 2, "explored", 1280)
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


def test_a_tap_says_what_a_point_is(browser: Browser, written: Callable[[Comparison], str], tmp_path: Path) -> None:
    written(sweep())
    open_page(browser, tmp_path, 2, "tapped", 360, mobile=True)
    browser.value("document.querySelector('#final').scrollIntoView()")
    box = json.loads(browser.value("JSON.stringify(document.querySelector('#final svg').getBoundingClientRect())"))
    browser.tap(box["x"] + box["width"] - 20, box["y"] + 20)  # where the diverged run is drawn
    browser.wait("document.querySelector('#vg-tooltip-element')?.classList.contains('visible')")
    tooltip = browser.value("document.querySelector('#vg-tooltip-element').textContent")
    assert tooltip == "learning_rate=1.0, seed 1337, divergedtrain.learning_rate1bits per byte3.134246"
    browser.tap(5, box["y"] + box["height"] + 30)
    browser.wait("!document.querySelector('#vg-tooltip-element').classList.contains('visible')")


DIV = """<div id="{id}"><script>vegaEmbed('#{id}', {spec});</script></div>"""  # as DVC writes them
IMAGES = """<div id="pngs" style="border:1px solid black;text-align:center; white-space: nowrap;overflow-y:hidden;">
<p>plots/wide.png</p>{images}</div>"""
IMAGE = """<div style="border:1px dotted black;display: inline-block;overflow:hidden;"><p>{rev}</p>
<img src="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='936' height='546'></svg>"></div>"""


def test_the_page_of_dvcs_plots_is_filled_and_names_its_lines(
    browser: Browser, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot_page, "vega_bundle", lambda: bundle)
    plot_page.write_plot_page(tmp_path / "template.html")
    template = json.loads((ROOT / ".dvc" / "plots" / "curve.json").read_text())
    rows = [
        {"rev": rev, "filename": f"plots/{name}.csv", "x": x, "y": 1 / x}
        for rev in ("HEAD", "wide") for name in ("train", "valid") for x in (1, 2, 3)
    ]  # fmt: skip
    template |= {"width": 300, "height": 300, "data": {"values": rows}, "title": "Loss", "params": []}
    dash = {"field": "filename", "scale": {"range": [[1, 0], [8, 8]]}, "legend": {"symbolFillColor": "transparent"}}
    template["encoding"] = {
        "x": {"field": "x", "type": "quantitative", "title": "steps"},
        "y": {"field": "y", "type": "quantitative", "title": "nats per token"},
        "color": {"field": "rev"},
        "strokeDash": dash,
    }
    tuned = json.dumps(template).replace("plots/", "finetune_")
    specs = {"one": json.dumps(template), "none": "{}", "two": tuned}  # DVC has no chart of an empty file
    divs = [DIV.replace("{id}", id_).replace("{spec}", spec) for id_, spec in specs.items()]
    images = "".join(IMAGE.replace("{rev}", rev) for rev in ("HEAD", "wide", "deep"))
    page = (tmp_path / "template.html").read_text(encoding="utf-8").replace("{refresh_tag}", "")
    filled = page.replace("{plot_divs}", "\n".join([*divs, IMAGES.replace("{images}", images)]))
    (tmp_path / "report.html").write_text(filled, encoding="utf-8")
    browser.open(tmp_path / "report.html", 1280, 800)
    browser.wait("document.querySelectorAll('svg.marks').length == 2")
    assert [problem for problem in browser.problems if "Infinite extent" not in problem] == []
    ratio = "(e => e.querySelector('svg').getBoundingClientRect().width / e.getBoundingClientRect().width)"
    assert browser.value(f"{ratio}(document.querySelector('#one'))") > 0.95
    texts = browser.value("[...document.querySelectorAll('#one text')].map(e => e.textContent)")
    assert {"training", "validation", "HEAD", "wide", "steps", "nats per token"} <= set(texts)
    tuned_texts = browser.value("[...document.querySelectorAll('#two text')].map(e => e.textContent)")
    assert {"training", "validation"} <= set(tuned_texts)
    assert browser.value("document.querySelector('#none') === null")
    labels = "[...document.querySelectorAll('#one .role-axis-label text')].map(e => e.textContent)"
    assert [label for label in browser.value(labels) if label][:3] == ["1", "2", "3"]  # no half steps
    rights = "[...document.querySelectorAll('img')].map(e => e.getBoundingClientRect().right)"
    assert max(browser.value(rights)) <= 1280
    assert browser.value("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#pngs'))") <= 0
