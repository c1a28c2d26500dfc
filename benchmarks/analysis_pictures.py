"""Pictures of the page of the analysis for the manual, on a desktop and on a phone.

    python -m benchmarks.analysis_pictures analysis/index.html docs

It opens the page in Chromium at what is learned when, and writes analysis-{desktop,phone}.png.
"""

import argparse
import base64
import tempfile
from pathlib import Path

from tests.browser import Browser

WINDOWS = {"desktop": (1100, 900, False), "phone": (390, 800, True)}
_SETTLED = "new Promise(done => setTimeout(done, 1000))"


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        for name, window in WINDOWS.items():
            browser.open(options.page.resolve(), *window)
            browser.value(_SETTLED)
            browser.value("document.getElementById('training').scrollIntoView()")
            browser.value(_SETTLED)
            shot = browser.send("Page.captureScreenshot")["data"]
            path = options.folder / f"analysis-{name}.png"
            path.write_bytes(base64.b64decode(shot))
            print(path)


if __name__ == "__main__":
    main()
