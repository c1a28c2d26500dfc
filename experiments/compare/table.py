"""The table of a comparison: as text for a terminal, as Markdown and as CSV."""

import csv
import io
from statistics import mean

from experiments.compare.comparison import Comparison, Row, plain
from experiments.define.metrics import is_of_chat

Cells = tuple[list[str], list[list[str]]]  # the header, and the rows

_DIGITS = 4
_WEIGHTS = ("finetune.learn", "finetune.answer_weight")  # say what counts in the loss while a chat model learns


def table(comparison: Comparison, metric: str) -> Cells:
    """The table of one metric, for people to read. A star marks the best mean."""
    digits, best = _DIGITS, comparison.best(metric)
    sizes = {row.n_parameters for row in comparison.rows}
    timed = any(row.tokens_per_s for row in comparison.rows)
    peaked = any(row.utilisation for row in comparison.rows)
    swept = bool(comparison.experiment_set.swept)  # then the changes are the name
    header = ["experiment", *["changes"] * (not swept), "seeds", metric.replace("_", " "), "spread", "difference"]
    header += ["standard error", "p"]
    header += ["parameters"] * (len(sizes) > 1) + ["tokens/s"] * timed + ["MFU"] * peaked + ["note"]
    rows = []
    for row in comparison.rows:
        summary, difference = row.summaries.get(metric), row.differences.get(metric)
        cells = [row.label, *[_changes(row)] * (not swept), str(len(row.runs))]
        cells += [_mean(row, metric, digits) + (" *" if row.experiment == best else "")]
        cells += [_number(summary.spread, digits) if summary else ""]
        cells += [_number(difference.value, digits, "+") if difference else ""]
        cells += [_number(difference.standard_error, digits) if difference else ""]
        cells += [p_text(difference.p) if difference and difference.p is not None else ""]
        cells += [f"{row.n_parameters:,}"] * (len(sizes) > 1)
        cells += [f"{row.tokens_per_s:,.0f}" if row.tokens_per_s else ""] * timed
        cells += [f"{row.utilisation:.0%}" if row.utilisation else ""] * peaked
        rows.append([*cells, _note(row, comparison.baseline)])
    return header, rows


def as_text(cells: Cells) -> str:
    """The table as aligned columns for a terminal; numbers are aligned to the right."""
    header, rows = cells
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(header))]
    lines = []
    for line in (header, ["-" * width for width in widths], *rows):
        padded = [
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def as_markdown(cells: Cells) -> str:
    """The table in Markdown; the best mean is bold."""
    header, rows = cells
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(header))]
    lines = [header, ["---:" if at_right else "---" for at_right in right]]
    lines += [[f"**{cell[:-2]}**" if cell.endswith(" *") else cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_csv(comparison: Comparison) -> str:
    """A line for each run, with its seed, its changed parameters and all metrics, for programs to read."""
    changed = list(dict.fromkeys(key for row in comparison.rows for key in row.changes))
    metrics = list(dict.fromkeys(key for _, run in comparison.runs for key in run.result.metrics if key != "diverged"))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run", "experiment", "seed", *changed, *metrics, "diverged", "tokens_per_s"])
    for row, run in comparison.runs:
        parameters, values = run.result.parameters, run.result.metrics
        writer.writerow(
            [run.definition.name, row.experiment, parameters.get("seed")]
            + [plain(parameters.get(key)) for key in changed]
            + [plain(values.get(key)) for key in metrics]
            + [plain(run.diverged), run.curves.tokens_per_s and round(run.curves.tokens_per_s)]
        )
    return file.getvalue()


def remarks(comparison: Comparison, metric: str) -> list[str]:
    """The notes below the table: how certain it is, what was run differently, what is missing, the scaling law."""
    lines = _certainty(comparison, metric)
    deviations = comparison.deviations
    sets = [{(key, plain(value)) for key, value in overrides.items()} for overrides in deviations.values()]
    shared = set.intersection(*sets) if len(sets) == len(comparison.runs) else set()
    if shared:
        lines.append("all with " + ", ".join(f"{key}={value}" for key, value in sorted(shared)))
    for name, overrides in deviations.items():
        unshared = [f"{key}={plain(value)}" for key, value in overrides.items() if (key, plain(value)) not in shared]
        if unshared:
            lines.append(f"not as defined now: {name} has {', '.join(unshared)}")
    unknown = [run.definition.name for _, run in comparison.runs if run.curves.train is None]
    if unknown:
        names = "all of them" if len(unknown) == len(comparison.runs) > 1 else ", ".join(unknown)
        lines.append(
            f"not known whether it diverged, because its training curve is not here: {names}; `dvc pull` fetches it, "
            "if the stage plot was part of the run"
        )
    if several := _several_losses(comparison):
        lines.append(several)
    if comparison.missing:
        lines.append(f"without a result: {', '.join(comparison.missing)}")
    if law := comparison.scaling_law(metric):
        lines.append(f"{metric.replace('_', ' ')} = {law}")
    if reason := comparison.why_no_scaling_law(metric):
        lines.append(f"no {reason}")
    return lines


def _several_losses(comparison: Comparison) -> str | None:
    """A warning where curves of chat models mean different things, because runs weigh tokens differently."""
    if not is_of_chat(comparison.experiment_set.metric):
        return None
    differing = [name for name in _WEIGHTS if len({run.result.parameters.get(name) for _, run in comparison.runs}) > 1]
    if not differing:
        return None
    names = " and ".join(differing)
    return (
        f"the curves show the loss as {names} {'weigh' if differing[1:] else 'weighs'} its tokens, so compare them "
        "only where these are the same; the metrics weigh all tokens of answers alike"
    )


def p_text(p: float) -> str:
    """A probability as text, `0.0123`."""
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def _certainty(comparison: Comparison, metric: str) -> list[str]:
    """What p means here, and which differences have none."""
    gaps = {row.label: row.differences[metric] for row in comparison.rows if metric in row.differences}
    known = [gap for gap in gaps.values() if gap.p is not None]
    lines = []
    if known:
        degrees = sorted({gap.degrees for gap in known})
        counts = f"{degrees[0]}" if len(degrees) == 1 else f"{degrees[0]} to {degrees[-1]}"
        freedom = f"{counts} {'degree' if degrees == [1] else 'degrees'} of freedom"
        corrected = f", corrected for {len(known)} comparisons (Holm)" if len(known) > 1 else ""
        lines.append(
            f"p: how likely so large a difference is by luck alone (Student's t, {freedom}{corrected}); "
            "above 0.05 it shows nothing"
        )
    if unknown := [name for name, gap in gaps.items() if gap.p is None]:
        names = "these differences" if not known else ", ".join(unknown)
        lines.append(f"nothing can be said about how much of {names} is luck: that needs at least two seeds")
    return lines


def _changes(row: Row) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={plain(value)}" for key, value in row.changes.items()) or "—"


def _note(row: Row, baseline: str | None) -> str:
    notes = ["baseline"] * (row.experiment == baseline)
    if row.n_diverged:
        notes.append("diverged" if row.n_diverged == len(row.runs) else f"{row.n_diverged} diverged")
    return ", ".join(notes)


def _mean(row: Row, metric: str, digits: int) -> str:
    """The mean over seeds; where all runs diverged, the mean of their last good weights, in brackets."""
    if metric in row.summaries:
        return f"{row.summaries[metric].mean:.{digits}f}"
    values = [value for run in row.runs if (value := run.value(metric)) is not None]
    return f"({mean(values):.{digits}f})" if values else "(none)"


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.{digits}f}".replace("-", "−")


def _is_numeric(column: list[str]) -> bool:
    filled = [cell for cell in column if cell]
    return bool(filled) and all(cell[0] in "(+−<0123456789" for cell in filled)
