"""The report of a comparison: one HTML file that needs no network, and is the same for the same results."""

import json
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from string import Template

from ruamel.yaml import YAML

from experiments.compare.comparison import METRICS, Comparison
from experiments.compare.scaling import law_of
from experiments.compare.table import remarks, table
from experiments.report.charts import Chart, Kind, curve, curves, every_run, experiment_colours, final, label
from experiments.report.plot_page import vega_bundle
from experiments.run.engine import ask_git, command
from lm.system.files import replacing

METRIC = METRICS[0]  # bits per byte: what texts that are cut into different tokens can be compared by
_PACKAGES = ("torch", "numpy", "dvc", "tokenizers", "pandas")
_TEXT_COLUMNS = ("experiment", "changes", "note", "run", "parameters of its own")
_POINTS = "A point for each run, a cross where one diverged; those far from the rest are drawn at the edge."
_KINDS: dict[Kind, str] = {"train": "training curve", "valid": "validation curve"}
_EXPLAINED = (
    "* marks the best. The spread is the standard deviation over the seeds of one experiment. The difference is its "
    "mean less the baseline’s; the standard error is that of the difference: the spread of all experiments together, "
    "times √(1/n + 1/m) for n and m seeds. Runs that diverged are left out of all these; where all of an "
    "experiment’s did, the figure in brackets is that of the weights they kept."
)


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the report; its commands start from the commit that the experiments were made from.

    Raises:
        ValueError: when the set is drawn against something that is no number.
    """
    found = {
        "final": final(comparison, METRIC),
        "valid": curves(comparison, "valid"),
        "train": curves(comparison, "train"),
    }
    charts = {name: chart for name, chart in found.items() if chart}
    body = [
        _results(comparison),
        _charts(comparison, charts),
        _samples(comparison),
        _reproduction(comparison),
    ]
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8")).substitute(
        name=escape(comparison.one.name),
        asks=escape(comparison.one.asks),
        finding=escape(" ".join(finding(comparison))),
        body="\n".join(body),
        vega=vega_bundle(),
        charts=json.dumps(charts, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )
    with replacing(path) as file:
        file.write(page.encode())


def finding(comparison: Comparison) -> list[str]:
    """What the numbers say, in sentences, and how sure they are of it."""
    means = {row.experiment: row.summaries[METRIC].mean for row in comparison.rows if METRIC in row.summaries}
    ranking = sorted(means, key=means.__getitem__)
    sentences = []
    if ranking:
        of = f" of {len(ranking)} experiments" if len(ranking) > 1 else ""
        sentences.append(f"“{ranking[0]}” has the fewest bits per byte{of}: {means[ranking[0]]:.4f}.")
    if comparison.baseline in ranking and len(ranking) > 1:
        sentences += _distance(comparison, ranking)
    if broken := [row for row in comparison.rows if row.n_diverged]:
        parts = [f" ({row.n_diverged} of {len(row.finished)} runs)" * (len(row.finished) > 1) for row in broken]
        names = [f"“{row.experiment}”{part}" for row, part in zip(broken, parts, strict=True)]
        sentences.append(f"Diverged: {', '.join(names)}.")
    return sentences


def _distance(comparison: Comparison, ranking: Sequence[str]) -> list[str]:
    """How far the best is from the baseline, or from the next where it is the baseline itself."""
    leads = ranking[0] == comparison.baseline
    baseline = "the baseline" if comparison.baseline == "baseline" else f"the baseline, “{comparison.baseline}”"
    other = ranking[1] if leads else ranking[0]
    gap = next(row for row in comparison.rows if row.experiment == other).differences[METRIC]
    error = gap.standard_error
    sure = f" (standard error {error:.4f})" if error is not None else ""
    sentences = [
        f"It is the baseline; next comes “{other}” with {gap.value:.4f} more{sure}."
        if leads
        else f"That is {-gap.value:.4f} less than {baseline}{sure}."
    ]
    if error is None:
        sentences.append("With one seed each, how much of it is chance is not known.")
    elif abs(gap.value) < 2 * error:
        sentences.append("They are less than two standard errors apart: these seeds do not tell which is better.")
    elif not leads and len(ranking) > 2:
        sentences.append("The best of many is picked by its result, which flatters it.")
    return sentences


def sections(samples: str) -> list[str]:
    """The texts of a file of samples, one for each prompt."""
    texts: list[str] = []
    previous = ""
    for line in samples.split("\n"):
        if line.startswith("> "):
            if previous.startswith("> "):
                texts[-1] += "\n" + line[2:]
            else:
                texts.append(line[2:])
        previous = line
    return texts


def _results(comparison: Comparison) -> str:
    header, rows = table(comparison, METRIC)
    colours, best = experiment_colours(comparison), comparison.best(METRIC)
    lines = []
    for row, cells in zip(comparison.rows, rows, strict=True):
        asks = f"<small>{escape(row.asks)}</small>" if row.asks != comparison.one.asks else ""
        first = f"<th>{_dot(colours[row.experiment])}{escape(cells[0])}{asks}</th>"
        kind = "best" if row.experiment == best else "diverged" if row.n_diverged else ""
        lines.append(f'<tr class="{kind}">{first}{_cells(header[1:], cells[1:])}</tr>')
    notes = [*remarks(comparison, METRIC), _EXPLAINED]
    return f"<h2>Results</h2>\n{_table(header, lines)}\n{''.join(_small(note) for note in notes)}"


def _charts(comparison: Comparison, charts: Mapping[str, Chart]) -> str:
    runs = every_run(comparison)
    machines = sorted({each.curves.machine for _, each in runs if each.curves.machine})
    lacking = {
        what: [label(row, each) for row, each in runs if getattr(each.curves, kind) is None]
        for kind, what in _KINDS.items()
    }
    if lacking["training curve"] == lacking["validation curve"]:
        lacking = {"curves": lacking["training curve"]}
    notes = [f"no {what} here for {'; '.join(names)}: dvc pull" for what, names in lacking.items() if names]
    empty = [
        label(row, each)
        for row, each in runs
        if any(getattr(each.curves, kind) is not None and curve(each, kind) is None for kind in _KINDS)
    ]
    if empty:
        notes.append(f"No loss was measured before the end of {'; '.join(empty)}.")
    if machines:
        timed = len([each for _, each in runs if each.curves.machine])
        notes.append(
            f"Seconds were taken on {'; '.join(machines)} for {timed} of {len(runs)} runs. Whatever else a machine was "
            "doing is in them: steps and tokens compare experiments, seconds only runs that had a machine alone."
        )
    vocabularies = sorted({each.result.metrics["vocab_size"] for _, each in runs})
    if len(vocabularies) > 1:
        notes.append(
            f"Vocabularies of {', '.join(f'{size:,}' for size in vocabularies)} cut a text into different tokens: "
            "compare their bits per byte, not their losses per token."
        )
    tools = _switch("x", {"step": "steps", "tokens": "tokens"} | ({"elapsed_s": "seconds"} if machines else {}))
    tools += _switch("y", {"log": "log", "linear": "linear"})
    drawn = {name: f'<div><h3>{escape(chart["title"])}</h3><div class="chart" id="{name}"></div></div>'
             for name, chart in charts.items()}  # fmt: skip
    swept = drawn.pop("final", "")
    law = " Dotted: the scaling law." if law_of(comparison, METRIC) else ""
    parts = ["<h2>Curves</h2>"] if drawn or notes else []
    if drawn:
        parts += [f'<div class="tools">{tools}</div>', _legend(comparison)]
        parts += [f'<div class="charts">{"".join(drawn.values())}</div>']
        parts += [_small("A line for each run; a cross where one diverged. Losses above where runs start are cut off.")]
    parts += [_small(note) for note in notes]
    return (
        f'<h2>Where it ends</h2>\n<div class="charts">{swept}</div>{_small(_POINTS + law)}\n' if swept else ""
    ) + "\n".join(parts)


def _samples(comparison: Comparison) -> str:
    """For each prompt the texts of all experiments beside each other: of the first seed that has some."""
    colours = experiment_colours(comparison)
    cards: dict[str, list[str]] = {}
    absent = []
    for row in comparison.rows:
        each = next((each for each in row.finished if each.curves.samples is not None), None)
        if each is None or each.curves.samples is None:
            absent.append(row.experiment)
            continue
        title = f"{_dot(colours[row.experiment])}{escape(label(row, each))}"
        texts = sections(each.curves.samples)
        for prompt, text in zip(each.result.parameters["sample.prompts"], texts, strict=True):
            marked = f"**{prompt}**"
            words = f"<b>{escape(prompt)}</b>{escape(text[len(marked) :])}" if text.startswith(marked) else escape(text)
            cards.setdefault(prompt, []).append(
                f'<article data-experiment="{escape(row.experiment)}"><h4>{title}</h4><p>{words}</p></article>'
            )
    parts = ["<h2>Samples</h2>"]
    if cards:
        parts += [_small("As they came: the first seed, not a selection."), _legend(comparison)]
    for prompt, articles in cards.items():
        heading = f"“{escape(prompt)}”" if prompt else "From nothing"
        parts.append(f'<h3>{heading}</h3><div class="scroll cards">{"".join(articles)}</div>')
    if absent:
        parts.append(_small(f"no samples here for {', '.join(absent)}: dvc pull"))
    return "\n".join(parts)


def _reproduction(comparison: Comparison) -> str:
    """The commit, the commands with the parameters that the runs did have, their results, and versions."""
    finished = every_run(comparison)
    measured = {each.run.name: each for _, each in finished}
    made = finished[0][1].result.rev
    commit = ask_git("rev-parse", f"{made}^").strip()  # DVC commits an experiment on what it started from
    base = YAML(typ="safe").load(ask_git("show", f"{commit}:params.yaml"))
    actual = [
        replace(run, overrides=measured[run.name].result.parameters) if run.name in measured else run
        for run in comparison.one.runs
    ]
    settings = {run.name: _settings(command(run, base)) for run in actual}
    shared = [one for one in settings[actual[0].name] if all(one in each for each in settings.values())]
    commands = [f"git checkout {commit}", "make setup", "source .venv/bin/activate"]
    commands += [shlex.join(command(run, base)) for run in actual]

    header = ["run", "parameters of its own", "bits per byte", "loss", "accuracy", "note"]
    lines = []
    for run in actual:
        each = measured.get(run.name)
        own = ", ".join(one for one in settings[run.name] if one not in shared)
        figures = [f"{each.result.metrics[metric]:.4f}" for metric in METRICS] if each else [""] * len(METRICS)
        note = "not run" if each is None else "diverged" if each.diverged else ""
        kind = "diverged" if note == "diverged" else ""
        lines.append(f'<tr class="{kind}"><th>{escape(run.name)}</th>{_cells(header[1:], [own, *figures, note])}</tr>')
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)]
    machines = sorted({each.curves.machine for _, each in finished if each.curves.machine})
    edited = [
        name for name in ask_git("diff", "--name-only", commit, made).splitlines() if name.endswith((".py", "dvc.yaml"))
    ]
    notes = [f"Not in that commit, for it was edited when they ran: {', '.join(edited)}."] if edited else []
    notes += [f"Written with {', '.join(versions)}."]
    notes += [f"Timed on {'; '.join(machines)}."] if machines else []
    also = f", with <code>{escape(', '.join(shared))}</code>" if shared else ""
    return "\n".join(
        [
            "<h2>How to reproduce</h2>",
            f"<p>All runs started from commit <code>{commit}</code> and its <code>params.yaml</code>{also}.</p>",
            f'<div class="block"><button class="copy">copy</button><pre>{escape(chr(10).join(commands))}</pre></div>',
            "<h3>Every run</h3>",
            _table(header, lines),
            *map(_small, notes),
        ]
    )


def _settings(words: Sequence[str]) -> list[str]:
    """What a command overrides, as `key=value`."""
    return [word for flag, word in pairwise(words) if flag == "-S"]


def _legend(comparison: Comparison) -> str:
    """A button for each experiment."""
    colours = experiment_colours(comparison)
    chips = []
    for row in comparison.rows:
        some = "" if row.n_diverged == len(row.finished) else f"{row.n_diverged} of {len(row.finished)} "
        broken = f' <span class="bad">{some}diverged</span>' if row.n_diverged else ""
        name = escape(row.experiment)
        text = f"{_dot(colours[row.experiment])}{name}{broken}"
        chips.append(f'<button data-experiment="{name}" aria-pressed="false">{text}</button>')
    return f'<div class="chips">{"".join(chips)}</div>' if len(chips) > 1 else ""


def _switch(key: str, values: Mapping[str, str]) -> str:
    """Buttons of which one is pressed, at first the first."""
    buttons = [
        f'<button data-key="{key}" data-value="{value}" aria-pressed="{str(i == 0).lower()}">{text}</button>'
        for i, (value, text) in enumerate(values.items())
    ]
    return f'<span>{key}<span class="switch">{"".join(buttons)}</span></span>'


def _table(header: Sequence[str], lines: Iterable[str]) -> str:
    head = "".join(f"<th{_kind(name)}>{escape(name)}</th>" for name in header)
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cells(header: Sequence[str], cells: Sequence[str]) -> str:
    return "".join(f"<td{_kind(name)}>{escape(cell)}</td>" for name, cell in zip(header, cells, strict=True))


def _kind(name: str) -> str:
    return f' class="{"note" if name == "note" else "text"}"' if name in _TEXT_COLUMNS else ' class="number"'


def _dot(colour: str) -> str:
    return f'<i class="dot" style="--dot:{colour}"></i>'


def _small(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'
