"""What each command of `python -m experiments` does with its arguments. Each function returns the exit status.

What compares and draws is imported where it is needed, because pandas, Matplotlib and DVC take a second to load.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.define.cost import cost_in_words
from experiments.define.experiment_set import ExperimentSet, Run, select, with_overrides
from experiments.define.experiments_file import check_name, load_experiments
from experiments.define.metrics import METRICS
from experiments.define.parameters import Overrides, model_size, overridden, parse_override
from experiments.run.dvc_commands import exp_run_command
from experiments.run.execute import run_all
from experiments.run.results import finite, load_results
from experiments.run.start import load_start
from lm.system.files import replacing

if TYPE_CHECKING:
    from experiments.compare.comparison import Comparison

_EXPERIMENTS = Path("experiments.yaml")


def list_experiments(_: argparse.Namespace) -> int:
    """Print all presets and sets, and the mistakes beside those that cannot run."""
    sets = load_experiments(_EXPERIMENTS)
    params = load_start().params
    width = max(map(len, [*sets, *sets.mistakes]))
    for title, is_preset in (("presets", True), ("sets", False)):
        print(title)
        for experiment_set in sets.values():
            if (experiment_set.hardware is not None) == is_preset:
                about = _about(experiment_set, params, is_preset)
                costs = _costs(experiment_set, params)
                print(f"  {experiment_set.name:<{width}} {about:<22}  {experiment_set.asks}{costs}")
                for mistake in _mistakes(experiment_set, params):
                    print(f"  {'':<{width}} error: {mistake}")
    for name, mistake in sets.mistakes.items():
        print(f"  {name:<{width}} error: {mistake}")
    return 0


def _costs(experiment_set: ExperimentSet, params: Mapping[str, Any]) -> str:
    """The time and the memory of the trainings of a set, in brackets; nothing if its parameters are wrong."""
    try:
        words = cost_in_words([run.parameters(params) for run in experiment_set.runs], Path(".timings"))
    except ValueError:  # which the list shows
        return ""
    return f" ({words})" if words else ""


def _about(experiment_set: ExperimentSet, params: Mapping[str, Any], is_preset: bool) -> str:
    """The size of a preset, if it can be known, or else how many runs there are."""
    try:
        size = model_size(overridden(params, experiment_set.runs[0].overrides)) if is_preset else None
    except ValueError:  # a mistake, which the list shows
        size = None
    return f"{size:>11,} parameters" if size else f"{len(experiment_set.runs):>11} runs"


def _mistakes(experiment_set: ExperimentSet, params: Mapping[str, Any]) -> list[str]:
    """What the pipeline would refuse, each mistake once: many runs of a set may make the same."""
    mistakes: dict[str, str] = {}
    for run in experiment_set.runs:
        try:
            run.parameters(params)
        except ValueError as error:
            for line in str(error).splitlines():
                mistakes.setdefault(line.removeprefix(f"{run.name}: "), line)
    return list(mistakes.values())


def show(arguments: argparse.Namespace) -> int:
    """Print what the selected experiments ask, and the size and the dvc command of each run."""
    (selected,), start = _selected(arguments), load_start()
    print(f"{selected.name}: {selected.asks}")
    if selected.hardware:
        print(f"meant for {selected.hardware}")
    for run in selected.runs:
        size = model_size(run.parameters(start.params))
        print(f"\n{run.name}" + ("" if run.asks == selected.asks else f": {run.asks}"))
        print(
            f"  {f'{size:,} parameters' if size else 'number of parameters not known before the tokenizer is trained'}"
        )
        print(f"  {shlex.join(exp_run_command(run, start.params, start.workspace))}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Run the selected experiments, or queue them."""
    start = load_start()
    runs = {run.name: run for selected in _selected(arguments) for run in selected.runs}
    queue = arguments.queue or arguments.jobs > 0
    return run_all(list(runs.values()), start, queue=queue, jobs=arguments.jobs, force=arguments.force)


def try_changes(arguments: argparse.Namespace) -> int:
    """Run the committed params.yaml with a few changes, under a name that experiments.yaml does not define."""
    name = arguments.name
    check_name(name, "NAME")
    overrides = _overrides(arguments.changes)
    sets = load_experiments(_EXPERIMENTS) if _EXPERIMENTS.exists() else {}
    if any(name == run.name for entry in sets.values() for run in entry.runs):
        raise ValueError(f"{name}: {_EXPERIMENTS} defines this experiment, so choose another name")
    run = Run(name, name, None, "What does it change?", overrides)
    if not overrides:
        print('note: this runs the committed params.yaml without a change; make exp takes changes as SET="KEY=VALUE"')
    if status := run_all([run], load_start(), force=arguments.force):
        return status
    result = load_results()[name]
    if result.state != "done":  # another process is at it
        print(f"{name} is {result.state}, so it has no result yet")
        return 1
    metrics = result.metrics
    known = {metric: value for metric in METRICS if (value := finite(metrics.get(metric))) is not None}
    print(f"{name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in known.items()))
    print(f"curves beside those of the commit: dvc plots diff HEAD {name}")
    print(f"take it into the workspace:        python -m experiments apply {name}")
    print("                                   (dvc exp apply would write params.yaml without its nulls)")
    return 0


def compare_results(arguments: argparse.Namespace) -> int:
    """Print the table of a comparison; write it and the plots as files where the arguments ask for them."""
    from experiments.compare.table import as_csv, as_markdown, as_text, remarks, table

    comparison = _comparison(arguments)
    metric = arguments.metric or comparison.experiment_set.metric
    cells = table(comparison, metric)
    print(f"{comparison.experiment_set.name}: {comparison.experiment_set.asks}\n\n{as_text(cells)}")
    for line in remarks(comparison, metric):
        print(line)
    if arguments.markdown:
        _write(arguments.markdown, as_markdown(cells))
    if arguments.csv:
        _write(arguments.csv, as_csv(comparison))
    if arguments.plots:
        from experiments.report.png_plots import draw_plots

        for path in draw_plots(comparison, metric, arguments.plots):
            print(path)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the page of a comparison."""
    from experiments.report.page import write_report

    write_report(_comparison(arguments), arguments.page)
    print(arguments.page)
    return 0


def _selected(arguments: argparse.Namespace) -> list[ExperimentSet]:
    """The sets that the arguments name, with the overrides and seeds of the command line."""
    sets = load_experiments(_EXPERIMENTS)
    overrides = _overrides(arguments.set_param)
    return [with_overrides(select(sets, name), overrides, arguments.seeds) for name in arguments.name]


def _overrides(texts: Sequence[str]) -> Overrides:
    return {key: value for text in texts for key, value in parse_override(text).items()}


def _comparison(arguments: argparse.Namespace) -> "Comparison":
    from experiments.compare.comparison import compare

    (selected,), results = _selected(arguments), load_results(arguments.rev)
    return compare(selected, load_start(arguments.rev or "HEAD").params, results, Path.cwd())


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())
