"""Tests of experiments/report/vega_charts.py on comparisons made by hand."""

import json
import math

from experiments.compare.curves import Curves
from experiments.define.experiment_set import ExperimentSet, Run
from experiments.report.vega_charts import curves_charts, final_charts
from tests.experiments.report.comparisons import ablations, curve, finished, sweep
from tests.experiments.results_by_hand import made_comparison


def test_diverged_runs_leave_the_others_most_of_the_height() -> None:
    chart = curves_charts(ablations(), "valid")["valid"]
    assert chart is not None
    low, high = chart["spec"]["encoding"]["y"]["scale"]["domain"]
    assert low < 2.1
    assert 7 < high < 30
    swept = final_charts(sweep(), "bits_per_byte")["final"]
    low, high = swept["spec"]["encoding"]["y"]["scale"]["domain"]
    assert 0.816 > low > 0.75
    assert 0.9 < high < 1.0


def test_losses_that_are_nan_or_infinite_are_left_out_and_a_long_curve_is_thinned() -> None:
    run = Run("long", "long", 1, "?", {})
    long = curve(20000, 2.0)
    long.loc[19998:, "loss"] = [math.nan, math.inf]
    long.loc[5, "elapsed_s"] = math.nan
    experiment_set = ExperimentSet("long", "?", None, (run,), None, None, None)
    diverged = finished(run, 1.0, Curves(long, None, None, None, None), True)
    chart = curves_charts(made_comparison(experiment_set, [diverged]), "train")["train"]
    assert chart is not None
    columns = chart["runs"][0]["columns"]
    assert len(columns["loss"]) <= 6667
    assert columns["step"][-1] == 199980
    json.dumps(chart, allow_nan=False)


def test_a_sweep_has_a_point_for_each_run_and_a_line_through_those_that_did_not_diverge() -> None:
    chart = final_charts(sweep(by="train.batch_size"), "bits_per_byte")["final"]
    kinds = [row["is"] for row in chart["rows"]]
    assert (kinds.count("run"), kinds.count("mean")) == (10, 8)
    assert chart["spec"]["encoding"]["x"]["scale"]["type"] == "log"
    assert {row["series"] for row in chart["rows"]} == {"4", "16"}


def test_more_lines_than_colours_get_a_small_chart_each() -> None:
    charts = final_charts(sweep(by="train.batch_size", sizes=range(1, 10)), "bits_per_byte")
    assert [chart["title"] for chart in charts.values()] == [f"batch_size={size}" for size in range(1, 10)]
    assert all(len({row["series"] for row in chart["rows"]}) == 1 for chart in charts.values())
    assert [len(chart["rows"]) for chart in charts.values()] == [9] * 9  # five runs, four means: one rate diverges
    scales = [{axis: chart["spec"]["encoding"][axis]["scale"] for axis in "xy"} for chart in charts.values()]
    assert all(scale == scales[0] for scale in scales)  # which can be compared
