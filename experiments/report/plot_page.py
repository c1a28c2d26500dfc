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
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #1f2937; }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 2rem; }
  .plots > * { min-width: 0; }
  .plots > .vega-embed { display: block; width: 100%; }
  /* A card of DVC's pictures, which has styles of its own: all revisions beside each other, as narrow as need be. */
  .plots > [style*="nowrap"] { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: .5rem; border: 0 !important; }
  .plots > [style*="nowrap"] > p { flex: 0 0 100%; margin: 0; text-align: left; font-weight: 600; }
  .plots > [style*="nowrap"] > div { flex: 1 1 0; min-width: 0; max-width: 46rem; border: 0 !important; }
  img { max-width: 100%; height: auto; }
</style>
<script>
VEGA
</script>
<script>
// DVC calls vegaEmbed for each chart. Its charts are 300 pixels wide, with small letters and files as names of lines.
const embed = vegaEmbed;
const names = "test(/train[.]csv$/, datum.label) ? 'training' : test(/valid[.]csv$/, datum.label) ? 'validation' : " +
  "datum.label";
const whole = "datum.value % 1 ? '' : format(datum.value, datum.value >= 10000 ? '~s' : '~r')";  // steps, tokens, sizes
function dressed(part) {
  if (Array.isArray(part)) return part.map(dressed);
  if (part === null || typeof part != "object") return part;
  const entry = ([key, value]) => [key, key == "values" ? value : dressed(value)];
  const copy = Object.fromEntries(Object.entries(part).map(entry));
  if (copy.strokeDash && !copy.strokeDash.field) delete copy.strokeDash;
  if (copy.strokeDash) copy.strokeDash.legend = {title: null, labelExpr: names, symbolType: "stroke", symbolSize: 400,
    symbolStrokeColor: "#1f2937"};
  if (copy.color?.field == "rev") copy.color.legend = {title: null, symbolType: "stroke", symbolStrokeWidth: 3};
  if (copy.x?.field) copy.x.axis = {tickCount: 6, labelExpr: whole};
  return copy;
}
vegaEmbed = (id, spec) => spec.data ? draw(id, spec) : document.querySelector(id).remove();  // a chart without data
const draw = (id, spec) => embed(id, {...dressed(spec), $schema: undefined, width: "container", height: 320,
  autosize: {type: "fit-x", contains: "padding"},
  config: {font: "system-ui, sans-serif", view: {stroke: null},
    title: {fontSize: 16, anchor: "start"}, legend: {orient: "top", labelFontSize: 14, labelLimit: 400},
    axis: {labelFontSize: 13, titleFontSize: 14, titleFontWeight: "normal", gridColor: "#e7e9ee", labelOverlap: true},
    axisX: {grid: false}, axisY: {tickCount: 6}}},
  {renderer: "svg", actions: false});
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
