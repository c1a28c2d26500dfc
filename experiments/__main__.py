"""Experiments, run by DVC: try a change, list and show those of experiments.yaml, run one or a set, compare, report.

python -m experiments try wide model.d_model=256
python -m experiments list
python -m experiments show ablations
python -m experiments run ablations --queue --jobs 2
python -m experiments compare ablations --markdown table.md --plots pictures
python -m experiments report ablations ablations.html
"""

import argparse
import sys
from pathlib import Path

from experiments import subcommands
from experiments.define.metrics import METRICS
from experiments.run import apply, push, repository, verify


def main() -> int:
    """The exit status: 0 for success, 1 when a run failed or differs, 2 for a wrong argument, 130 when stopped."""
    arguments = _parser().parse_args()
    try:
        repository.check_place()
        return int(arguments.act(arguments))
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
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

    listing = commands.add_parser("list", help="print all presets and sets, and the question that each asks")
    listing.set_defaults(act=subcommands.list_experiments)

    show = commands.add_parser("show", help="print the question, the changes and the dvc command of each run")
    _add_selection(show)
    show.set_defaults(act=subcommands.show)

    run = commands.add_parser("run", help="run an experiment or a set, in temporary copies of the workspace")
    _add_selection(run, several=True)
    run.add_argument("--queue", action="store_true", help="only put the runs into DVC's queue")
    run.add_argument(
        "--jobs", type=_positive, default=0, metavar="N", help="queue the runs, and work on N of them at a time"
    )
    run.add_argument(
        "--force", action="store_true", help="replace experiments of the same name, and run all of their stages again"
    )
    run.set_defaults(act=subcommands.run)

    tried = commands.add_parser("try", help="run params.yaml with a few changes, in a temporary copy")
    tried.add_argument("name", metavar="NAME", help="a name of your own for the experiment")
    tried.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="a change, such as model.d_model=256")
    tried.add_argument("--force", action="store_true", help="replace an experiment of this name, run all stages again")
    tried.set_defaults(act=subcommands.try_changes)

    applied = commands.add_parser("apply", help="take an experiment into the workspace: parameters, results and outs")
    apply.add_arguments(applied)
    applied.set_defaults(act=apply.main)

    compared = commands.add_parser("compare", help="print a table of the results that a set has so far; draw plots")
    _add_selection(compared)
    _add_revision(compared)
    compared.add_argument(
        "--metric", choices=METRICS, help="the metric that the table compares; default: that of the set"
    )
    compared.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table as Markdown")
    compared.add_argument("--csv", type=Path, metavar="FILE", help="also write every run with all its metrics")
    compared.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="also draw the curves of all runs together, as PNG"
    )
    compared.set_defaults(act=subcommands.compare_results)

    reported = commands.add_parser("report", help="write one HTML page with the table, interactive curves and samples")
    _add_selection(reported)
    _add_revision(reported)
    reported.add_argument("page", type=Path, metavar="FILE.html", help="the page to write")
    reported.set_defaults(act=subcommands.report)

    mended = commands.add_parser(
        "repair", help="put git in order where a killed run of DVC or a shallow clone is in the way"
    )
    mended.set_defaults(act=repository.repair)

    verified = commands.add_parser("verify", help="run the pipeline of a commit again, and compare every out")
    verify.add_arguments(verified)
    verified.set_defaults(act=verify.main)

    pushed = commands.add_parser("push", help="push all files of all runs, so that another clone need not train again")
    push.add_arguments(pushed)
    pushed.set_defaults(act=push.main)
    return parser


def _add_selection(parser: argparse.ArgumentParser, several: bool = False) -> None:
    about = "a preset, a set, an experiment (SET-EXPERIMENT) or a run (SET-EXPERIMENT-sSEED)"
    parser.add_argument("name", nargs="+" if several else 1, metavar="NAME", help=about)
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="an override for all selected runs"
    )
    parser.add_argument(
        "--seeds", type=_seeds, metavar="1,2,3", help="run once with each of these seeds instead of those of the set"
    )


def _add_revision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rev", metavar="COMMIT", help="use the experiments made from that commit instead of HEAD")


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
