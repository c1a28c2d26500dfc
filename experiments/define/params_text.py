"""The text of params.yaml with other values in it."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

_NULL = "tag:yaml.org,2002:null"


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """The text of a params.yaml with these values, which have dotted names.

    Comments, `null` and all other lines stay as they are.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 20  # break no line
    yaml.indent(mapping=2, sequence=4, offset=2)
    # By default, ruamel and so `dvc exp run -S` write nothing after the name.
    yaml.representer.add_representer(type(None), lambda it, _: it.represent_scalar(_NULL, "null"))
    content = yaml.load(text)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        place = content.setdefault(section, {}) if section else content
        old = place.get(name)
        if old != value or name not in place:
            place[name] = _list_like(old, value) if isinstance(value, list) else value
    written = StringIO()
    yaml.dump(content, written)
    return written.getvalue()


def _list_like(old: Any, value: list[Any]) -> CommentedSeq:
    """A list that stands on as many lines as the old one: one, if that was no list."""
    new = CommentedSeq(value)
    if not isinstance(old, CommentedSeq) or old.fa.flow_style():
        new.fa.set_flow_style()
    return new
