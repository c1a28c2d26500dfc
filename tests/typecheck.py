"""How types and shapes are checked while the tests run."""

from collections.abc import Callable
from typing import Any, TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

CONF = BeartypeConf(is_pep484_tower=True)  # an int serves where a float is asked for, as to mypy

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])


def checked(function: AnyCallable) -> AnyCallable:
    """The function, checking its arguments and result.

    jaxtyping hands over methods one by one. Outside its class `Self` means nothing to beartype, so a method that names
    it goes unchecked.
    """
    try:
        return beartype(conf=CONF)(function)
    except BeartypeDecorHintPep673Exception:
        return function
