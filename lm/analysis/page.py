"""The page of the analysis: one HTML file, made from the views alone, that opens without a network."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from lm.analysis.page_script import SCRIPT
from lm.analysis.page_style import STYLE
from lm.analysis.views import Topic, as_json
from lm.system.files import replacing

# The page may run its own script and show its own pictures, and load nothing.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write_page(
    path: Path,
    title: str,
    topics: Sequence[Topic],
    *,
    about: str = "",
    pictures: Mapping[str, Sequence[tuple[Path, str]]] | None = None,
) -> None:
    """Write the page: a section for each topic, in this order. `about` stands under the title.

    `pictures` holds, by the name of a topic, PNG files and what they show; they stand before its views. The same views
    and pictures give the same bytes.

    Raises:
        ValueError: when two topics have the same name.
    """
    names = [topic.name for topic in topics]
    if len(set(names)) < len(names):
        raise ValueError(f"topics: must have different names, got {', '.join(names)}")
    links = "\n".join(f'<a href="#{escape(topic.name)}">{escape(topic.title)}</a>' for topic in topics)
    sections = "\n".join(_section(topic, (pictures or {}).get(topic.name, ())) for topic in topics)
    data = json.dumps(list(map(as_json, topics)), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="note">{escape(about)}</p>
<nav aria-label="topics">
{links}
</nav>
<noscript><p>The views need JavaScript. The same numbers stand in the JSON files beside this page.</p></noscript>
<main>
{sections}
</main>
<script type="application/json" id="topics">{data.replace("<", chr(92) + "u003c")}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
    with replacing(path) as file:
        file.write(page.encode("utf-8", "replace"))  # a lone half of a surrogate pair has no bytes


def _section(topic: Topic, pictures: Sequence[tuple[Path, str]]) -> str:
    shown = "".join(
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'
        f"<figcaption><p>{escape(text)}</p></figcaption></figure>"
        for file, text in pictures
    )
    return f'<section id="{escape(topic.name)}"><h2>{escape(topic.title)}</h2>{shown}</section>'
