"""The report of a comparison: one HTML page that needs no network. The same results give the same bytes."""

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from string import Template
from textwrap import shorten

from experiments.compare.comparison import Comparison
from experiments.compare.table import remarks, table
from experiments.define.metrics import METRICS, is_of_chat
from experiments.report.finding import finding
from experiments.report.html import cell_elements, dot, legend, note, switch, table_element
from experiments.report.plot_page import vega_bundle
from experiments.report.style import experiment_colours
from experiments.report.vega_charts import Chart, Kind, curves_charts, final_charts, finite_curve, run_label
from experiments.run.dvc_commands import ask_git, exp_run_command
from experiments.run.start import committed_params
from lm.system.files import replacing

_PACKAGES = ("torch", "numpy", "dvc", "tokenizers", "pandas")
_POINTS = "Each run is a point, or a cross if it diverged. Runs far from the others are drawn at the edge."
_LINES = "Each run is a line, with a cross at its end if it diverged. Losses above the start of all runs are cut off."
_KINDS: dict[Kind, str] = {"valid": "validation curve", "train": "training curve"}
_EXPLAINED = (
    "* marks the best experiment. The spread is the standard deviation over the seeds of an experiment. The difference "
    "is the mean of the experiment minus the mean of the baseline. If the two have at least two seeds in common, it is "
    "taken over these seeds alone, seed by seed, and its standard error comes from all experiments that have these "
    "seeds. This assumes that all of them vary equally: an experiment that varies more than the others is less certain "
    "than its p says. Runs that diverged are left out of these numbers. If all runs of an experiment diverged, the "
    "number in brackets is the mean of their last good weights."
)


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page. Its commands start from the commit that the experiments were made from.

    Raises:
        ValueError: when a value of `against`, the x axis of the final metric, is no number.
    """
    final = final_charts(comparison, comparison.experiment_set.metric)
    curves = {kind: curves_charts(comparison, kind) for kind in _KINDS}
    charts = {name: chart for each in (final, *curves.values()) for name, chart in each.items()}
    body = [
        _results(comparison),
        _final(comparison, final) + _curves(comparison, curves),
        _samples(comparison),
        _reproduction(comparison),
    ]
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8")).substitute(
        name=escape(comparison.experiment_set.name),
        asks=escape(comparison.experiment_set.asks),
        finding=escape(" ".join(finding(comparison))),
        body="\n".join(body),
        vega=vega_bundle(),
        charts=json.dumps(charts, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )
    with replacing(path) as file:
        file.write(page.encode())


def _results(comparison: Comparison) -> str:
    metric = comparison.experiment_set.metric
    header, rows = table(comparison, metric)
    colours, best = experiment_colours(comparison), comparison.best(metric)
    lines = []
    for row, cells in zip(comparison.rows, rows, strict=True):
        asks = f"<small>{escape(row.asks)}</small>" if row.asks != comparison.experiment_set.asks else ""
        first = f"<th>{dot(colours[row.experiment])}{escape(cells[0])}{asks}</th>"
        kind = "best" if row.experiment == best else "diverged" if row.n_diverged else ""
        lines.append(f'<tr class="{kind}">{first}{cell_elements(header[1:], cells[1:])}</tr>')
    notes = [*remarks(comparison, metric), _EXPLAINED]
    return f"<h2>Results</h2>\n{table_element(header, lines)}\n{''.join(map(note, notes))}"


def _final(comparison: Comparison, charts: Mapping[str, Chart]) -> str:
    """The final metric by the swept value; empty for a set that is not drawn against one."""
    if not charts:
        return ""
    metric = comparison.experiment_set.metric
    law = " The dotted lines are the scaling law." if comparison.scaling_law(metric) else ""
    elements = "".join(_chart_element(name, chart) for name, chart in charts.items())
    element = f'<div class="charts{" small-charts" if len(charts) > 1 else ""}">{elements}</div>'
    return f"<h2>Final {METRICS[metric]}</h2>\n{element}{note(_POINTS + law)}\n"


def _curves(comparison: Comparison, charts: Mapping[Kind, Mapping[str, Chart]]) -> str:
    """The curves of training and validation loss, with notes on what is missing and what may be compared."""
    drawn = [_curve_elements(comparison, kind, each) for kind, each in charts.items() if each]
    notes = [*_notes_on_missing_curves(comparison), *_notes_on_fairness(comparison)]
    parts = ["<h2>Curves</h2>"] if drawn or notes else []
    small = sum(len(each) > 1 for each in charts.values())
    if drawn:
        x_axes = {"step": "steps", "tokens": "tokens"} | ({"elapsed_s": "seconds"} if _machines(comparison) else {})
        switches = switch("x", x_axes) + switch("y", {"log": "log", "linear": "linear"})
        parts += [f'<div class="tools">{switches}</div>', legend(comparison)]
        parts += [f'<div class="charts">{"".join(drawn)}</div>' if small == 0 else "".join(drawn), note(_LINES)]
    parts += map(note, notes)
    return "\n".join(parts)


def _curve_elements(comparison: Comparison, kind: Kind, charts: Mapping[str, Chart]) -> str:
    """The chart of one kind of curve, or its small charts under one title."""
    if len(charts) == 1:
        return "".join(_chart_element(name, chart) for name, chart in charts.items())
    grey = next((f" (grey: {row.label})" for row in comparison.rows if row.experiment == comparison.baseline), "")
    title = escape(_KINDS[kind].replace("curve", "loss").capitalize() + grey)
    elements = "".join(_chart_element(name, chart) for name, chart in charts.items())
    return f'<h3>{title}</h3><div class="charts small-charts">{elements}</div>'


def _chart_element(name: str, chart: Chart) -> str:
    return f'<div><h3>{escape(chart["title"])}</h3><div class="chart" id="{name}"></div></div>'


def _notes_on_missing_curves(comparison: Comparison) -> list[str]:
    missing = {
        name: [run_label(row, run) for row, run in comparison.runs if getattr(run.curves, kind) is None]
        for kind, name in _KINDS.items()
    }
    if missing["training curve"] == missing["validation curve"]:
        missing = {"curves": missing["training curve"]}
    n_runs = len(comparison.runs)
    notes = [
        f"no {name} here for {'any run' if len(labels) == n_runs > 1 else '; '.join(labels)}: dvc pull"
        for name, labels in missing.items()
        if labels
    ]
    empty = [
        run_label(row, run)
        for row, run in comparison.runs
        if any(getattr(run.curves, kind) is not None and finite_curve(run, kind) is None for kind in _KINDS)
    ]
    if empty:
        notes.append(f"No loss was measured before the end of {'; '.join(empty)}.")
    return notes


def _notes_on_fairness(comparison: Comparison) -> list[str]:
    notes = []
    if machines := _machines(comparison):
        n_timed = len([run for _, run in comparison.runs if run.curves.machine])
        notes.append(
            f"Seconds were measured on {'; '.join(machines)} for {n_timed} of {len(comparison.runs)} runs. They "
            "include the time that the machine spent on other work. So compare all experiments by steps or tokens, and "
            "by seconds only those runs that had the machine for themselves."
        )
    vocabularies = sorted({run.result.metrics["vocab_size"] for _, run in comparison.runs})
    if len(vocabularies) > 1:
        notes.append(
            f"Vocabularies of {', '.join(f'{size:,}' for size in vocabularies)} cut a text into different tokens, "
            "so compare their bits per byte, not their losses per token."
        )
    return notes


def _machines(comparison: Comparison) -> list[str]:
    """The machines on which runs were timed, without repetition."""
    return sorted({run.curves.machine for _, run in comparison.runs if run.curves.machine})


def _samples(comparison: Comparison) -> str:
    """For each prompt, the texts of all experiments beside each other, from the first seed that has samples."""
    colours, of_chat = experiment_colours(comparison), is_of_chat(comparison.experiment_set.metric)
    cards: dict[str, list[str]] = {}
    absent = []
    for row in comparison.rows:
        run = next((run for run in row.runs if run.curves.samples is not None), None)
        if run is None or run.curves.samples is None:
            absent.append(row.label)
            continue
        title = f"{dot(colours[row.experiment])}{escape(run_label(row, run))}"
        for sample in run.curves.samples:
            prompt = f"<b>{escape(sample.prompt)}</b>" if sample.prompt and not of_chat else ""
            text = f"<p>{prompt}{escape(sample.text)}{'' if sample.complete else ' …'}</p>"
            cards.setdefault(sample.prompt, []).append(
                f'<article data-experiment="{escape(row.experiment)}"><h4>{title}</h4>{text}</article>'
            )
    parts = ["<h2>Samples</h2>"]
    if cards:
        parts += [note("The samples of the first seed, without any selection."), legend(comparison)]
    for prompt, articles in cards.items():
        short = shorten(prompt, 100, placeholder=" …")
        heading = f"“{escape(short)}”" if prompt else "Without a prompt"
        # What a user says is no part of the answer. It is said once, and in full if the heading has no room for it.
        asked = f'<p class="asked">{escape(prompt.strip())}</p>' if of_chat and short.endswith(" …") else ""
        parts.append(f'<h3>{heading}</h3>{asked}<div class="scroll cards">{"".join(articles)}</div>')
    if absent:
        parts.append(note(f"no samples here for {', '.join(absent)}: dvc pull"))
    return "\n".join(parts)


def _reproduction(comparison: Comparison) -> str:
    """The commit, the commands with the parameters that the runs really had, their results, and the versions."""
    finished = {run.definition.name: run for _, run in comparison.runs}
    experiment_commit = comparison.runs[0][1].result.rev
    commit = ask_git("rev-parse", f"{experiment_commit}^").strip()  # because DVC commits an experiment on its start
    params = committed_params(commit)
    runs = [
        replace(run, overrides=finished[run.name].result.parameters) if run.name in finished else run
        for run in comparison.experiment_set.runs
    ]
    settings = {run.name: _settings(exp_run_command(run, params)) for run in runs}
    shared = [setting for setting in settings[runs[0].name] if all(setting in other for other in settings.values())]
    commands = [f"git checkout {commit}", "make setup", "source .venv/bin/activate"]
    commands += [shlex.join(exp_run_command(run, params)) for run in runs]

    of_chat = is_of_chat(comparison.experiment_set.metric)
    measured = {metric for _, run in comparison.runs for metric in METRICS if run.value(metric) is not None}
    metrics = [metric for metric in METRICS if is_of_chat(metric) == of_chat and metric in measured]
    header = ["run", "parameters of its own", *(metric.replace("_", " ") for metric in metrics), "note"]
    lines = []
    for run in runs:
        finished_run = finished.get(run.name)
        unshared = ", ".join(setting for setting in settings[run.name] if setting not in shared)
        numbers = [finished_run.value(metric) if finished_run else None for metric in metrics]
        values = ["" if number is None else f"{number:.4f}" for number in numbers]
        state = "not run" if finished_run is None else "diverged" if finished_run.diverged else ""
        cells = cell_elements(header[1:], [unshared, *values, state])
        lines.append(f'<tr class="{"diverged" * (state == "diverged")}"><th>{escape(run.name)}</th>{cells}</tr>')
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)]
    edited = [
        name
        for name in ask_git("diff", "--name-only", commit, experiment_commit).splitlines()
        if name.endswith((".py", "dvc.yaml"))
    ]
    notes = [f"These files were edited after that commit, before the runs: {', '.join(edited)}."] if edited else []
    notes += [f"Written with {', '.join(versions)}."]
    if machines := _machines(comparison):
        notes.append(f"Timed on {'; '.join(machines)}.")
    also = f", with <code>{escape(', '.join(shared))}</code>" if shared else ""
    return "\n".join(
        [
            "<h2>How to reproduce</h2>",
            f"<p>All runs started from commit <code>{commit}</code> and its <code>params.yaml</code>{also}. "
            "Each command runs in a temporary copy. Start where <code>git status</code> shows no changes.</p>",
            f'<div class="block"><button class="copy">copy</button><pre>{escape(chr(10).join(commands))}</pre></div>',
            "<h3>Every run</h3>",
            table_element(header, lines),
            *map(note, notes),
        ]
    )


def _settings(words: Sequence[str]) -> list[str]:
    """The overrides in a `dvc exp run` command, as `key=value`."""
    return [word for flag, word in pairwise(words) if flag == "-S"]
