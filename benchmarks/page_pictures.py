"""Pictures of the web page for the manual: a talk with a chat model, on a desktop and on a phone, light and dark.

    python -m benchmarks.page_pictures models/chat docs/manual

It starts the server, opens the page in Chromium, asks for a story and a question about it with the seed 3, points at
the last token that was not certain, and writes chat-{desktop,phone}-{light,dark}.png.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import Browser

ASKED = ("Tell me a story.", "Who is the story about?")
WINDOWS = {"desktop": (1200, 780, False), "phone": (390, 780, True)}
_IDLE = "document.querySelector('#log').ariaBusy == 'false'"


def main() -> None:
    """Write the four pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a chat model")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--say", action="append", metavar="TEXT", help="say this instead; may be repeated")
    options = parser.parse_args()
    command = [sys.executable, "-m", "commands.serve", str(options.model), "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as profile,
        Browser(Path(profile)) as browser,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split()[0]
        for name, window in WINDOWS.items():
            _talk(browser, f"{address}/", window, options.say or ASKED)
            for scheme in ("light", "dark"):
                browser.prefer(scheme)
                browser.screenshot(options.folder / f"chat-{name}-{scheme}.png")
            browser.value("localStorage.clear()")
        server.terminate()


def _talk(browser: Browser, address: str, window: tuple[int, int, bool], asked: list[str] | tuple[str, ...]) -> None:
    """Say all that is asked, colour the tokens, and point at the last one that was not certain."""
    browser.open(address, *window)
    browser.wait("!!document.body.dataset.mode")
    for name, value in {"seed": 3, "temperature": 0.7, "max_tokens": 320}.items():
        browser.value(f"document.getElementById('{name}').value = {value}")
        for event in ("input", "change"):
            browser.value(f"document.getElementById('{name}').dispatchEvent(new Event('{event}'))")
    browser.value("document.querySelector('#colours').click()")
    for place, text in enumerate(asked, 1):
        browser.value("document.querySelector('#input').focus()")
        browser.type(text)
        browser.press("Enter")
        browser.wait(f"{_IDLE} && document.querySelectorAll('.assistant').length == {place}")
    uncertain = (
        "(all => (all.findLast(e => e.dataset.p < 3) ?? all[0]).getClientRects()[0].toJSON())"
        "([...document.querySelectorAll('.token')])"
    )
    browser.value("new Promise(done => setTimeout(done, 500))")  # a log that still scrolls hides what is pointed out
    box = json.loads(browser.value(f"JSON.stringify({uncertain})"))
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if window[2]:
        browser.tap(*at)
    else:
        browser.point_at(*at)
    browser.wait("!document.querySelector('#tip').hidden")


if __name__ == "__main__":
    main()
