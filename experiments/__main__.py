"""Named experiments of experiments.yaml, run by DVC: list and show them, run one or a set, compare, report.

python -m experiments list
python -m experiments show ablations
python -m experiments run ablations --queue --jobs 2
python -m experiments compare ablations --markdown table.md --plots pictures
python -m experiments report ablations ablations.html
"""

import argparse
import shlex
import sys
from pathlib import Path

from experiments.compare.comparison import METRICS, Comparison, compare
from experiments.compare.table import as_csv, as_markdown, as_text, remarks, table
from experiments.define.definitions import (
    ExperimentSet,
    model_size,
    parse_override,
    select,
    with_overrides,
)
from experiments.define.reading import load_experiments, load_params
from experiments.report.pictures import draw
from experiments.report.report import write_report
from experiments.run import push, verify
from experiments.run.engine import command, results
from experiments.run.running import run_all
from lm.system.files import replacing


def main() -> int:
    """The exit status: 0, 1 when an experiment failed or is missing, 2 for a mistake, 130 when stopped."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.act(arguments))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="all presets and sets, and what they ask")
    listing.set_defaults(act=_list)

    show = commands.add_parser("show", help="what an experiment asks, changes and needs, and its dvc command")
    _add_selection(show)
    show.set_defaults(act=_show)

    run = commands.add_parser("run", help="run an experiment or a set, in temporary copies of the workspace")
    _add_selection(run, several=True)
    run.add_argument("--queue", action="store_true", help="put them into DVC's queue instead")
    run.add_argument(
        "--jobs", type=_positive, default=0, metavar="N", help="and work on the queue, N at a time; implies --queue"
    )
    run.add_argument(
        "--force", action="store_true", help="replace experiments of the same name, running every stage of theirs again"
    )
    run.set_defaults(act=_run)

    compared = commands.add_parser("compare", help="table and plots of what a set has brought so far")
    _add_selection(compared)
    _add_results(compared)
    compared.add_argument("--metric", choices=METRICS, default=METRICS[0], help="what the table compares")
    compared.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table as Markdown")
    compared.add_argument("--csv", type=Path, metavar="FILE", help="also write every run with all its metrics")
    compared.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw the curves on each other, as PNG")
    compared.set_defaults(act=_compare)

    reported = commands.add_parser(
        "report", help="the same on one self-contained page, with curves to explore and samples"
    )
    _add_selection(reported)
    _add_results(reported)
    reported.add_argument("page", type=Path, metavar="FILE.html", help="the page to write")
    reported.set_defaults(act=_report)

    verified = commands.add_parser("verify", help="run the pipeline of a commit again, and compare every out")
    verify.add_arguments(verified)
    verified.set_defaults(act=verify.main)

    pushed = commands.add_parser("push", help="push every file of every run, so that another clone trains nothing")
    push.add_arguments(pushed)
    pushed.set_defaults(act=push.main)
    return parser


def _add_selection(parser: argparse.ArgumentParser, several: bool = False) -> None:
    about = "a preset, a set, an experiment (SET-EXPERIMENT) or a run (SET-EXPERIMENT-sSEED)"
    parser.add_argument("name", nargs="+" if several else 1, metavar="NAME", help=about)
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="an override for all of its runs"
    )
    parser.add_argument("--seeds", type=_seeds, metavar="1,2,3", help="run once with each, instead of the set's seeds")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rev", metavar="COMMIT", help="the experiments made from that commit, instead of HEAD")


def _selected(arguments: argparse.Namespace) -> list[ExperimentSet]:
    sets = load_experiments(Path("experiments.yaml"))
    overrides = {key: value for text in arguments.set_param for key, value in parse_override(text).items()}
    return [with_overrides(select(sets, name), overrides, arguments.seeds) for name in arguments.name]


def _list(arguments: argparse.Namespace) -> int:
    sets = load_experiments(Path("experiments.yaml"))
    params = load_params(Path("params.yaml"))
    width = max(map(len, sets))
    for title, is_preset in (("presets", True), ("sets", False)):
        print(title)
        for one in sets.values():
            if (one.hardware is not None) == is_preset:
                size = model_size(one.runs[0].parameters(params))
                about = f"{size:>11,} parameters" if is_preset and size else f"{len(one.runs):>11} runs      "
                print(f"  {one.name:<{width}} {about}  {one.asks}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    (one,), params = _selected(arguments), load_params(Path("params.yaml"))
    print(f"{one.name}: {one.asks}")
    if one.hardware:
        print(f"meant for {one.hardware}")
    for run in one.runs:
        values = run.parameters(params)
        size = model_size(values)
        print(f"\n{run.name}" + ("" if run.asks == one.asks else f": {run.asks}"))
        print(f"  {f'{size:,} parameters' if size else 'as many parameters as the tokenizer asks for'}")
        print(f"  {shlex.join(command(run, params))}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    params = load_params(Path("params.yaml"))
    runs = {run.name: run for one in _selected(arguments) for run in one.runs}
    queue = arguments.queue or arguments.jobs > 0
    return run_all(list(runs.values()), params, queue=queue, jobs=arguments.jobs, force=arguments.force)


def _compare(arguments: argparse.Namespace) -> int:
    comparison = _comparison(arguments)
    cells = table(comparison, arguments.metric)
    print(f"{comparison.one.name}: {comparison.one.asks}\n\n{as_text(cells)}")
    for line in remarks(comparison, arguments.metric):
        print(line)
    if arguments.markdown:
        _write(arguments.markdown, as_markdown(cells))
    if arguments.csv:
        _write(arguments.csv, as_csv(comparison))
    if arguments.plots:
        for path in draw(comparison, arguments.metric, arguments.plots):
            print(path)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    write_report(_comparison(arguments), arguments.page)
    print(arguments.page)
    return 0


def _comparison(arguments: argparse.Namespace) -> Comparison:
    (one,), params = _selected(arguments), load_params(Path("params.yaml"))
    return compare(one, params, results(arguments.rev), Path.cwd())


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a number from 1, got {text!r}")
    return int(text)


def _seeds(text: str) -> list[int]:
    seeds = text.split(",")
    if not all(seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"must be different seeds like 1,2,3, got {text!r}")
    return [int(seed) for seed in seeds]


if __name__ == "__main__":
    sys.exit(main())
