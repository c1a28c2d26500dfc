"""Pictures of the page of the analysis for the manual, on a desktop and on a phone, light and dark.

    python -m benchmarks.analysis_pictures analysis/index.html docs

It opens the page in Chromium at the view of attention, points at a token of the text, and writes
analysis-{desktop,phone}-{light,dark}.png.
"""

import argparse
import base64
import json
import tempfile
from pathlib import Path

from tests.browser import Browser

WINDOWS = {"desktop": (1100, 780, False), "phone": (390, 780, True)}
_TOKENS = "document.querySelectorAll('figure[data-kind=attention] .tokens span')"

_SETTLED = "new Promise(done => setTimeout(done, 300))"  # because scrolling closes what is shown


def main() -> None:
    """Write the four pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        for name, window in WINDOWS.items():
            browser.open(options.page.resolve(), *window)
            browser.wait("document.documentElement.dataset.ready == 'yes'")
            for scheme in ("light", "dark"):
                browser.prefer(scheme)
                browser.value("document.querySelector('figure[data-kind=attention]').scrollIntoView()")
                browser.value("scrollBy(0, -60)")
                browser.point_at(1, 1)
                browser.value(_SETTLED)
                box = json.loads(browser.value(f"JSON.stringify([...{_TOKENS}].at(-2).getBoundingClientRect())"))
                at = box["x"] + 4, box["y"] + box["height"] / 2
                if window[2]:
                    browser.tap(*at)
                else:
                    browser.point_at(*at)
                browser.wait("!document.getElementById('tip').hidden")
                shot = browser.send("Page.captureScreenshot")["data"]
                (options.folder / f"analysis-{name}-{scheme}.png").write_bytes(base64.b64decode(shot))


if __name__ == "__main__":
    main()
