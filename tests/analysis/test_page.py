"""The page of the analysis: its bytes, and how it looks and behaves in a real browser."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lm.analysis.figure import new_figure, save_figure
from lm.analysis.page import write_page
from lm.analysis.views import (
    Attention,
    Bars,
    Curve,
    Curves,
    Grid,
    Table,
    Token,
    Tokens,
    Topic,
    attention,
)
from tests.browser import CHROMIUM, Browser

TITLE = ("A title", "What it shows.")
EVIL = "</script><script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
WORDS = ["Once", " upon", " a", " time", "\n", EVIL]
WEIGHTS = np.zeros((2, 3, 6, 6)) + np.eye(6)
WEIGHTS[1, 2, 3] = [0.75, 0.25, 0, 0, 0, 0]
TOPICS = [
    Topic(
        "text",
        "Text",
        [
            Curves(*TITLE, "step", "nats", [Curve(EVIL, [1, 10, 100], [3, None, 1])], log_x=True, log_y=True),
            Curves(*TITLE, "step", "nats", [Curve(str(n), range(30), [n] * 30) for n in range(9)]),
            Curves(*TITLE, "step", "nats", []),
            Bars(*TITLE, "count", ["a", EVIL, "none"], [2, -1, None], [0.00666, None, None]),
            Table(*TITLE, ["word", "count"], [[EVIL, 12345], ["b " * 100, None]]),
            Table(*TITLE, ["word", "count"], []),
        ],
        ["A note."],
    ),
    Topic(
        "model",
        "Model",
        [
            Attention(*TITLE, WORDS, attention(WEIGHTS), [[""] * 3, ["", "", "previous token"]]),
            Attention(*TITLE, [], []),
            Tokens(*TITLE, "loss", "probability", [Token(word, 1.5, [(EVIL, 0.5)]) for word in WORDS]),
            Grid(*TITLE, "layer", "token", "score", ["1", "2"], WORDS, [[-1, 0, 1, 2, None, 3]] * 2),
            Grid(*TITLE, "layer", "token", "score", ["1"], WORDS * 9, [[0.5] * 54], [WORDS * 9]),
        ],
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    save_figure(new_figure("Loss", "step", "nats")[0], folder / "loss.png")
    path = folder / "index.html"
    write_page(path, "analysis", TOPICS, about=EVIL, pictures={"text": [(folder / "loss.png", "The loss.")]})
    return path


def test_the_same_views_give_the_same_bytes_and_load_nothing(page: Path, tmp_path: Path) -> None:
    pictures = {"text": [(page.with_name("loss.png"), "The loss.")]}
    write_page(tmp_path / "again.html", "analysis", TOPICS, about=EVIL, pictures=pictures)
    written = page.read_bytes()
    assert (tmp_path / "again.html").read_bytes() == written
    assert b"</script><script>document" not in written
    assert b' src="data:image/png' in written
    with pytest.raises(ValueError, match="topics: must have different names, got text, text"):
        write_page(tmp_path / "again.html", "analysis", [TOPICS[0]] * 2)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def element(browser: Browser, kind: str, selector: str) -> dict[str, float]:
    """The place on the screen of the first such element of the first view of a kind, scrolled into sight."""
    found = f"document.querySelector('figure[data-kind={kind}] {selector}')"
    browser.value(f"{found}.scrollIntoView({{block: 'center'}})")
    browser.value("new Promise(done => setTimeout(done, 200))")  # scrolling closes what is shown
    box: dict[str, float] = json.loads(browser.value(f"JSON.stringify({found}.getBoundingClientRect())"))
    return {"x": box["x"] + min(4, box["width"] / 2), "y": box["y"] + box["height"] / 2}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (360, True)])
def test_a_browser_draws_it_and_says_what_a_token_looks_at(
    browser: Browser, page: Path, width: int, mobile: bool
) -> None:
    browser.open(page, width, 800, mobile)
    browser.wait("document.documentElement.dataset.ready == 'yes'")
    browser.wait("document.querySelectorAll('figure > div > svg path').length == 10")  # all curves are drawn
    if folder := os.environ.get("STORYLINE_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"analysis-{width}.png")
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.value("document.documentElement.dataset.error || ''") == ""
    assert browser.value("document.title") == "analysis"
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.value("document.querySelector('nav a:last-of-type').click()")
    browser.wait("document.querySelector('section:last-of-type h2').getBoundingClientRect().top < 200")
    under = "document.querySelector('section:last-of-type h2').getBoundingClientRect().top"
    assert browser.value(f"{under} >= document.querySelector('nav').getBoundingClientRect().bottom")
    assert browser.value("document.querySelectorAll('figure').length") == 12
    assert browser.value("document.querySelector('.bars > .number').textContent") == "2.0000 ± 0.0067"
    assert browser.value("document.querySelectorAll('figure')[6].textContent").endswith("None.")  # of an empty table
    assert "looks at" not in browser.value("document.getElementById('tip').textContent")

    # The last head of the second layer, chosen; then its fourth token.
    browser.value("document.querySelector('[aria-label=\"head 1.2: previous token\"]').click()")
    place = element(browser, "attention", ".tokens span:nth-child(4)")
    browser.tap(**place) if mobile else browser.point_at(**place)
    browser.wait("!document.getElementById('tip').hidden")
    said = browser.value("document.getElementById('tip').textContent")
    assert said == "·time looks at\n   Once  75%\n   ·upon  25%"
    colours = "[...document.querySelectorAll('figure[data-kind=attention] .tokens span')].map(e => e.style.background)"
    assert "0.563" in browser.value(colours)[0]
    box = json.loads(browser.value("JSON.stringify(document.getElementById('tip').getBoundingClientRect())"))
    assert 0 <= box["left"] < box["right"] <= width


@pytest.mark.slow
def test_every_view_can_be_asked_with_the_keys(browser: Browser, page: Path) -> None:
    browser.open(page, 1000, 800)
    browser.wait("document.querySelectorAll('figure > div > svg path').length == 10")
    tip = "document.getElementById('tip')"
    expected = {
        ("tokens", ".tokens span"): "·upon\nloss: 1.5\nprobability:\n   </script>",
        ("grid", "td"): "layer 1, token ·upon\nscore: 0",
        ("curves", "div > svg"): "nats: 3",
    }
    for (kind, selector), words in expected.items():
        browser.value(f"document.querySelector('figure[data-kind={kind}] {selector}').focus()")
        # The focus scrolls the page, and scrolling hides the tip: so the keys wait until it has come to rest.
        browser.value("window.rests = false; requestAnimationFrame(() => setTimeout(() => window.rests = true, 100))")
        browser.wait("window.rests")
        browser.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
        browser.wait(f"!{tip}.hidden")
        assert words in browser.value(f"{tip}.textContent"), kind
        browser.send("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
        assert browser.value(f"{tip}.hidden")
    assert browser.problems == []


@pytest.mark.slow
def test_it_is_dark_where_the_reader_wants_that_and_whole_on_paper(browser: Browser, page: Path) -> None:
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(page, 1000, 800)
    browser.wait("document.documentElement.dataset.ready == 'yes'")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    browser.send("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.value("getComputedStyle(document.querySelector('.scroll')).maxHeight") == "none"
    browser.send("Emulation.setEmulatedMedia", media="", features=[])
