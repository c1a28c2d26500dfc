"""The items of a JSON array, one at a time."""

import json
from collections.abc import Iterator
from typing import Any

LONGEST_MARK = 12  # characters that mean nothing in part: a pair of escaped surrogates is the longest


def array_items(chunks: Iterator[str]) -> Iterator[Any]:
    """The items of a JSON array, whose text comes in chunks. Only the item at hand and one chunk are in memory.

    Raises:
        json.JSONDecodeError: where the text is not an array. Its position counts from an arbitrary place.
    """
    decode = json.JSONDecoder().raw_decode
    held, at = "", 0

    def more(least: int = 1) -> bool:
        """Hold `least` more characters, if there are so many; False if there are none."""
        nonlocal held, at
        parts = [held[at:]]
        while least > 0 and (chunk := next(chunks, "")):
            parts.append(chunk)
            least -= len(chunk)
        held, at = "".join(parts), 0
        return len(parts) > 1

    def look() -> str:
        """The next character that is not blank, which `at` points to from now on; empty at the end."""
        nonlocal at
        while True:
            while at < len(held) and held[at] in " \t\r\n":
                at += 1
            if at < len(held) or not more():
                return held[at : at + 1]

    def take(wanted: str) -> str:
        nonlocal at
        if (found := look()) not in tuple(wanted):
            raise json.JSONDecodeError(f"Expecting {' or '.join(map(repr, wanted))}", held, at)
        at += 1
        return found

    take("[")
    more_items = look() != "]" or take("]") != "]"
    while more_items:
        look()
        try:
            item, at = decode(held, at)
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated string") or error.pos > len(held) - LONGEST_MARK
            if is_cut and more(least=len(held) - at):
                continue
            raise
        except ValueError as error:  # an integer with more digits than Python takes
            raise json.JSONDecodeError(str(error), held, at) from None
        yield item
        more_items = take(",]") == ","
    if look():
        raise json.JSONDecodeError("Extra data", held, at)
