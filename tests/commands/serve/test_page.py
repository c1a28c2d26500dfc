"""The page in a real browser: what a person does with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.serve.service import Service
from tests.browser import CHROMIUM, Browser
from tests.commands.serve.running import Halting, Running, chat_model, halting, wait_for_none

pytestmark = pytest.mark.slow

ANSWER = "document.querySelector('.assistant:last-child .text')?.textContent ?? ''"
IDLE = "document.querySelector('#log').ariaBusy == 'false'"
WRITING = f"!({IDLE}) && ({ANSWER}).length > 3"
EVIL = "<img src=x onerror=\"document.title='x'\"> & <b>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def start(browser: Browser, running: Running, width: int = 1000, mobile: bool = False, forget: bool = True) -> None:
    """Show the page, as somebody who has never been there."""
    browser.open(f"{running.address}/", width, 800, mobile)
    if forget:
        browser.value("localStorage.clear()")
        browser.open(f"{running.address}/", width, 800, mobile)
    browser.wait("!!document.body.dataset.mode")


def settings(browser: Browser, **values: object) -> None:
    """Change settings through their fields."""
    for name, value in values.items():
        browser.value(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input')); "
            f"e.dispatchEvent(new Event('change')) }})(document.getElementById('{name}'))"
        )


def say(browser: Browser, text: str) -> None:
    """Write a message and send it."""
    browser.value("document.querySelector('#input').focus()")
    browser.type(text)
    browser.press("Enter")


def texts(browser: Browser, role: str) -> list[str]:
    """What one of the two has said."""
    found: list[str] = browser.value(f"[...document.querySelectorAll('.{role} .text')].map(e => e.textContent)")
    return found


def test_a_conversation_streams_stops_and_stays_after_a_reload(browser: Browser, tmp_path: Path) -> None:
    with halting(chat_model(tmp_path), "tiny-chat") as (running, model):
        converse(browser, running, model)


def converse(browser: Browser, slow: Running, model: Halting) -> None:
    """What a person does in two conversations."""
    start(browser, slow)
    assert browser.value("document.activeElement.id") == "input"
    settings(browser, max_tokens=150, seed=7, temperature=2)
    say(browser, EVIL)
    model.allow(20)
    browser.wait(WRITING)
    assert browser.value("document.querySelector('#go').ariaLabel") == "Stop"
    early = browser.value(ANSWER)
    model.allow(10)
    browser.wait(f"({ANSWER}).length > {len(early) + 3}")  # it grows
    browser.press("Escape")
    browser.wait(IDLE)
    stopped = browser.value(ANSWER)
    assert stopped.startswith(early)
    assert "stopped" in browser.value("document.querySelector('.assistant .note').textContent")
    wait_for_none(slow, model)
    model.free()
    assert texts(browser, "user") == [EVIL]
    assert browser.value("document.title") == "tiny-chat · storyline"

    settings(browser, max_tokens=10)
    say(browser, "And then?")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 2")
    before = texts(browser, "assistant")
    assert "cut off" in browser.value("document.querySelector('.assistant:last-child .note').textContent")
    browser.press("KeyN", alt=True)
    browser.wait("document.querySelectorAll('.message').length == 0")
    say(browser, "Second")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 1")
    start(browser, slow, forget=False)
    titled = EVIL if len(EVIL) <= 48 else EVIL[:47] + "…"
    titles = browser.value("[...document.querySelectorAll('#conversations .open')].map(e => e.textContent)")
    assert titles == ["Second", titled]
    assert texts(browser, "user") == ["Second"]
    browser.value("document.querySelectorAll('#conversations .open')[1].click()")
    assert texts(browser, "assistant") == before
    assert browser.value("document.querySelector('#seed').value") == "7"
    remove = "document.querySelectorAll('#conversations .remove')[1].click()"
    browser.value(remove)
    assert browser.value("document.querySelectorAll('#conversations li').length") == 2  # it asks first
    browser.value(remove)
    assert browser.value("document.querySelectorAll('#conversations li').length") == 1
    assert browser.problems == []
    assert {url.split("?")[0].removeprefix(slow.address) for url in browser.requests} <= {
        *("/", "/v1/models", "/v1/chat/completions")
    }


def test_an_answer_that_did_not_begin_leaves_nothing_and_one_that_a_reload_ends_stays(
    browser: Browser, tmp_path: Path
) -> None:
    titles = "[...document.querySelectorAll('#conversations .open')].map(e => e.textContent)"
    with halting(chat_model(tmp_path), "tiny-chat") as (running, model):
        start(browser, running)
        settings(browser, max_tokens=150)
        say(browser, "One")
        assert browser.value(titles) == ["One"]
        browser.press("Escape")
        browser.wait(IDLE)
        assert browser.value(titles) == texts(browser, "user") == texts(browser, "assistant") == []
        assert browser.value("document.querySelector('#input').value") == "One"
        browser.press("Enter")
        model.allow(20)
        browser.wait(WRITING)
        early = browser.value(ANSWER)
        start(browser, running, forget=False)
        assert texts(browser, "user") == ["One"]
        assert texts(browser, "assistant")[0].startswith(early)
        assert "stopped" in browser.value("document.querySelector('.assistant .note').textContent")
    assert browser.problems == []


def test_two_tabs_keep_the_conversations_of_both(browser: Browser, chat: Running) -> None:
    titles = "[...document.querySelectorAll('#conversations .open')].map(e => e.textContent)"
    start(browser, chat)
    settings(browser, max_tokens=5)
    say(browser, "One")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 1")
    one = browser.new_tab()
    start(browser, chat, forget=False)
    assert texts(browser, "user") == ["One"]
    browser.press("KeyN", alt=True)
    say(browser, "Two " * 20)
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 1")
    two = browser.go_to_tab(one)
    both = [("Two " * 12)[:47] + "…", "One"]
    browser.wait(f"{titles}.length == 2")
    assert browser.value(titles) == both
    assert texts(browser, "user") == ["One"]  # what is open here stays
    row = "document.querySelectorAll('#conversations {}')[0].getBoundingClientRect().right"
    assert browser.value(row.format(".remove")) <= browser.value(
        "document.querySelector('#new').getBoundingClientRect().right"
    )
    say(browser, "Three")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 2")
    browser.go_to_tab(two)
    browser.wait(f"{titles}[0] == 'One'")
    start(browser, chat, forget=False)
    assert browser.value(titles) == both[::-1]
    assert texts(browser, "user") == ["One", "Three"]
    browser.value("[0, 1].forEach(() => document.querySelectorAll('#conversations .remove')[1].click())")
    browser.go_to_tab(one)
    browser.wait(f"{titles}.length == 1")
    assert browser.problems == []


def test_retry_edit_and_the_seed(browser: Browser, chat: Running) -> None:
    start(browser, chat)
    settings(browser, max_tokens=12, temperature=1.5, seed=3, system="Be kind.")
    say(browser, "One")
    browser.wait(f"{IDLE} && document.querySelectorAll('.token').length > 0")
    (first,) = texts(browser, "assistant")
    asked: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "One"}]
    same = chat.client.chat.completions.create(
        model="tiny-chat",
        messages=asked,
        max_tokens=12,
        temperature=1.5,
        top_p=0.95,
        seed=3,
    )
    assert first == same.choices[0].message.content
    browser.press("KeyR", alt=True)
    browser.wait(f"{IDLE} && document.querySelectorAll('.token').length > 0")
    assert texts(browser, "assistant") == [first]  # with the same seed
    settings(browser, seed="")
    browser.value("[...document.querySelectorAll('.assistant button')].find(e => e.textContent == 'Retry').click()")
    browser.wait(f"{IDLE} && document.querySelectorAll('.token').length > 0")
    assert texts(browser, "assistant") != [first]
    say(browser, "Two")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 2")
    browser.value("document.querySelector('.user button').click()")
    browser.type("!")
    settings(browser, seed=3)
    browser.press("Enter")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 1")
    assert texts(browser, "user") == ["One!"]
    browser.value("document.querySelector('#input').focus()")
    browser.press("ArrowUp")
    browser.wait("!!document.querySelector('.editor')")
    browser.press("Escape")
    browser.wait("!document.querySelector('.editor')")
    assert texts(browser, "user") == ["One!"]
    assert browser.problems == []


def test_a_token_shows_how_likely_it_was(browser: Browser, chat: Running) -> None:
    for width, mobile in ((1000, False), (390, True)):
        start(browser, chat, width, mobile)
        settings(browser, max_tokens=12, seed=5)
        say(browser, "Hello")
        browser.wait(f"{IDLE} && document.querySelectorAll('.token').length > 4")
        assert browser.value("document.documentElement.scrollWidth") == width
        box = json.loads(browser.value("JSON.stringify(document.querySelectorAll('.token')[4].getClientRects()[0])"))
        at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        if mobile:
            browser.tap(*at)
        else:
            browser.point_at(*at)
        browser.wait("!document.querySelector('#tip').hidden")
        rows = browser.value("[...document.querySelectorAll('#tip li')].map(e => e.textContent)")
        assert len(rows) in (5, 6)
        assert all(row.endswith(" %") for row in rows)
        assert browser.value("document.querySelectorAll('#tip .taken').length") == 1
        tip = json.loads(browser.value("JSON.stringify(document.querySelector('#tip').getBoundingClientRect())"))
        assert 0 <= tip["left"] <= tip["right"] <= width
        colour = "getComputedStyle(document.querySelectorAll('.token')[1]).backgroundColor"
        assert browser.value(colour) == "rgba(0, 0, 0, 0)"
        browser.value("document.querySelector('#colours').click()")
        assert browser.value(colour) != "rgba(0, 0, 0, 0)"
        assert browser.value("!document.querySelector('#legend').hidden")
    browser.value("document.querySelector('.assistant .text').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    assert browser.value("document.querySelectorAll('.token')[1].classList.contains('at')")
    assert browser.value("document.querySelector('#announce').textContent").count("%") >= 5
    assert browser.problems == []


def test_dark_and_light_by_the_system_and_by_the_switch(browser: Browser, chat: Running) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    browser.prefer("dark")
    start(browser, chat)
    dark = browser.value(paper)
    browser.prefer("light")
    light = browser.value(paper)
    assert dark != light
    browser.value("document.querySelector('#theme').click()")
    assert browser.value(paper) == dark
    start(browser, chat, forget=False)
    assert browser.value(paper) == dark
    browser.value("document.querySelector('#theme').click()")
    assert browser.value(paper) == light


def test_on_a_phone_the_conversations_are_in_a_drawer(browser: Browser, chat: Running) -> None:
    start(browser, chat, 390, mobile=True)
    right = "document.querySelector('aside').getBoundingClientRect().right"
    assert browser.value(right) <= 0
    browser.value("document.querySelector('#menu').click()")
    browser.wait(f"{right} > 200")
    browser.press("Escape")
    browser.wait(f"{right} <= 0")
    assert browser.value("document.documentElement.scrollWidth") == 390
    unlabelled = (
        "[...document.querySelectorAll('button, input, textarea')].filter(e => "
        "!(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert browser.value(unlabelled) == 0


def test_what_goes_wrong_is_said(browser: Browser, chat: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    start(browser, chat)
    settings(browser, max_tokens=5)
    say(browser, "x" * 90)
    browser.wait("!!document.querySelector('.error')")
    assert "must have at most 88 tokens" in browser.value("document.querySelector('.error').textContent")
    browser.value("document.querySelector('.user button').click()")
    browser.value("document.querySelector('.editor textarea').value = 'y'.repeat(50)")
    browser.press("Enter")
    browser.wait(f"{IDLE} && !document.querySelector('.error') && !!document.querySelector('.assistant')")
    say(browser, "z" * 40)
    browser.wait("!!document.querySelector('.notice')")
    assert "no longer sees the oldest 2 messages" in browser.value("document.querySelector('.notice').textContent")
    monkeypatch.setattr(Service, "chat", lambda *_: 1 / 0)
    say(browser, "a")
    browser.wait("!!document.querySelector('.error')")
    assert "the server has made a mistake" in browser.value("document.querySelector('.error').textContent")


def test_a_base_model_continues_a_text(browser: Browser, base: Running, tmp_path: Path) -> None:
    start(browser, base)
    settings(browser, max_tokens=8, seed=2)
    say(browser, "Once")
    browser.wait(f"{IDLE} && document.querySelectorAll('.token').length > 0")
    (first,) = texts(browser, "assistant")
    whole = base.client.completions.create(
        model="tiny", prompt="Once", max_tokens=8, seed=2, temperature=0.8, top_p=0.95
    )
    assert first == whole.choices[0].text
    say(browser, "")
    browser.wait(f"{IDLE} && document.querySelectorAll('.assistant').length == 2")
    on = base.client.completions.create(
        model="tiny", prompt="Once" + first, max_tokens=8, seed=2, temperature=0.8, top_p=0.95
    )
    assert texts(browser, "assistant")[1] == on.choices[0].text
    assert browser.problems == []
