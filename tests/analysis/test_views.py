"""The views of the analysis: what they hold, what they refuse, and JSON both ways."""

import json
import math
from typing import Any

import numpy as np
import pytest

from lm.analysis.views import (
    Attention,
    Bars,
    Curve,
    Curves,
    Grid,
    Table,
    Token,
    Tokens,
    Topic,
    View,
    as_json,
    attention,
    numbers,
    topic_from_json,
)

TITLE = ("A title", "What it shows.")
VIEWS: list[View] = [
    Curves(*TITLE, "steps", "nats", [Curve("loss", [1, 2], [3.5, None])], log_x=True),
    Bars(*TITLE, "count", ["a", "b"], [1, None], errors=[0.5, None]),
    Table(*TITLE, ["word", "count"], [["a", 1], ["b", 2.5], [None, "none"]]),
    Tokens(*TITLE, "nats", "probability", [Token("Once", 1.5, [("One", 0.5)]), Token("</script>")]),
    Attention(*TITLE, ["a", "b"], attention(np.array([[[[1.0, 0.0], [0.25, 0.75]]]])), [["previous token"]]),
    Grid(*TITLE, "layer", "head", "score", ["1"], ["1", "2"], [[0.5, None]], [["a", "b"]]),
]


def test_a_topic_comes_back_from_its_json_whatever_its_views() -> None:
    topic = Topic("text", "Text", VIEWS, ["a note"])
    assert topic_from_json(json.loads(json.dumps(as_json(topic), allow_nan=False))) == topic
    assert isinstance(topic.views[2], Table)
    assert topic.views[2].rows[0] == ("a", 1)
    assert isinstance(topic.views[2].rows[0][1], int)  # a count stays a whole number


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Curve("loss", [1, 2], [3]), "y: must have 2 entries, as many as x, got 1"),
        (lambda: Curve("loss", [1], [math.nan]), "finite number"),
        (lambda: Bars(*TITLE, "count", ["a"], [1, 2]), "values: must have 1 entries, as many as labels, got 2"),
        (lambda: Bars(*TITLE, "count", ["a"], [1], [1, 2]), "errors: must have 1 entries, as many as labels, got 2"),
        (lambda: Table(*TITLE, ["a"], [["b"], []]), r"rows\[1\]: must have 1 entries, as many as columns, got 0"),
        (lambda: Table(*TITLE, ["a"], [[math.inf]]), "finite number"),
        (lambda: Attention(*TITLE, ["a"], [[[[1.0, 0.0]]]]), r"head\]\[0\]: must have 1 keys, got 2"),
        (lambda: Attention(*TITLE, ["a"], [[[[1.0]]]], [["x", "y"]]), r"labels: must have one for each head"),
        (lambda: Grid(*TITLE, "r", "c", "v", ["1"], ["1"], []), "values: must have 1 entries, as many as rows, got 0"),
        (lambda: Grid(*TITLE, "r", "c", "v", ["1"], ["1"], [[1, 2]]), r"values\[0\]: must have 1 entries"),
    ],
)
def test_a_view_whose_parts_do_not_fit_is_refused(make: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"views": [{"kind": "pie"}]}, "views.0: Input tag 'pie'"),
        ({"views": [as_json(Topic("a", "b", VIEWS[1:2]))["views"][0] | {"values": [1]}]}, "views.0.bars: values: must"),
        ({"colour": "red"}, "colour: Unexpected keyword argument"),
    ],
)
def test_json_that_holds_no_topic_is_refused_in_one_line(change: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error) as caught:
        topic_from_json(as_json(Topic("text", "Text", [])) | change)
    assert "\n" not in str(caught.value)


def test_numbers_are_rounded_lists_without_nan() -> None:
    array = np.array([[1.23456, np.nan], [np.inf, -0.000123456]])
    assert numbers(array) == [[1.235, None], [None, -0.0001235]]
    assert numbers(array.astype(np.float32)) == numbers(array)
    assert numbers(np.array([3, 123456])) == [3, 123456]  # counts keep all their digits
    assert numbers(np.array(0.5)) == 0.5
