"""How the page looks and behaves in a real browser."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.compare.comparison import Comparison
from tests.experiments.report.browser import CHROMIUM, Browser
from tests.experiments.report.comparisons import SETS, ablations, sweep

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
    open_page(browser, tmp_path, 2, name, width, mobile)
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
    assert tooltip == "1, seed 1337, divergedtrain.learning_rate1bits per byte3.134246"
    browser.tap(5, box["y"] + box["height"] + 30)
    browser.wait("!document.querySelector('#vg-tooltip-element').classList.contains('visible')")
