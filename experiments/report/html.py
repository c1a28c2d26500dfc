"""Parts of the page as HTML: tables, notes, buttons."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from experiments.compare.comparison import Comparison
from experiments.report.style import experiment_colours

_TEXT_COLUMNS = ("experiment", "changes", "note", "run", "parameters of its own")


def table_element(header: Sequence[str], lines: Iterable[str]) -> str:
    """A table that scrolls sideways, from its header and the HTML of its lines."""
    head = "".join(f"<th{_column_class(name)}>{escape(name)}</th>" for name in header)
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def cell_elements(header: Sequence[str], cells: Sequence[str]) -> str:
    """The cells of a line, aligned as their columns are."""
    return "".join(f"<td{_column_class(name)}>{escape(cell)}</td>" for name, cell in zip(header, cells, strict=True))


def note(text: str) -> str:
    """A paragraph in small letters."""
    return f'<p class="small">{escape(text)}</p>'


def dot(colour: str) -> str:
    """A dot in the colour of an experiment."""
    return f'<i class="dot" style="--dot:{colour}"></i>'


def legend(comparison: Comparison) -> str:
    """A button for each experiment; nothing where there is only one experiment."""
    colours = experiment_colours(comparison)
    buttons = []
    for row in comparison.rows:
        count = "" if row.n_diverged == len(row.runs) else f"{row.n_diverged} of {len(row.runs)} "
        diverged = f' <span class="bad">{count}diverged</span>' if row.n_diverged else ""
        name = escape(row.experiment)
        text = f"{dot(colours[row.experiment])}{escape(row.label)}{diverged}"
        buttons.append(f'<button data-experiment="{name}" aria-pressed="false">{text}</button>')
    return f'<div class="chips">{"".join(buttons)}</div>' if len(buttons) > 1 else ""


def switch(key: str, values: Mapping[str, str]) -> str:
    """Buttons of which exactly one is pressed; at first it is the first one."""
    buttons = [
        f'<button data-key="{key}" data-value="{value}" aria-pressed="{str(i == 0).lower()}">{text}</button>'
        for i, (value, text) in enumerate(values.items())
    ]
    return f'<span>{key}<span class="switch">{"".join(buttons)}</span></span>'


def _column_class(name: str) -> str:
    return f' class="{"note" if name == "note" else "text"}"' if name in _TEXT_COLUMNS else ' class="number"'
