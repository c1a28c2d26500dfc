"""Write the template of the page that `dvc plots` fills in. It holds a copy of Vega, so it opens without a network.

python -m experiments.report.plot_page .dvc/plots/page.html     (part of `make setup`)
"""

import argparse
from pathlib import Path

import vl_convert

from lm.system.files import replacing

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>storyline: plots</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #1f2937; }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 2rem; }
  .plots > * { overflow-x: auto; }
  img { max-width: 100%; height: auto; }
  table { border-spacing: 12px; }
</style>
<script>
VEGA
</script>
</head>
<body>
<h1>storyline: plots</h1>
<div class="plots">
{plot_divs}
</div>
</body>
</html>
"""


def write_plot_page(path: Path) -> None:
    """Write the template of the page. DVC replaces `{plot_divs}` in it by the plots."""
    with replacing(path) as file:
        file.write(_PAGE.replace("VEGA", vega_bundle()).encode())


def vega_bundle() -> str:
    """JavaScript for a script element, which defines `vegaEmbed` and everything that it needs."""
    # A string in the bundle may hold the end tag of a script element. Escaped, the string has the same value.
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report.plot_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="FILE.html", help="the page to write")
    write_plot_page(parser.parse_args().path)
