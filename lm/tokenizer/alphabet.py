"""GPT-2's spelling of bytes: each byte has a printable character, so that JSON can hold tokens as text."""


def _characters() -> list[str]:
    """The character of each byte: its own if that is printable, else the next from U+0100 on (GPT-2's encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


CHARACTER_OF_BYTE = _characters()
_BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(CHARACTER_OF_BYTE)}

# The order in which Hugging Face's trainer gives ids to the bytes: by their characters.
BYTES_IN_ORDER = [_BYTE_OF_CHARACTER[character] for character in sorted(CHARACTER_OF_BYTE)]


def spell(token: bytes) -> str:
    """The characters of some bytes.

    >>> spell(b" the")
    'Ġthe'
    """
    return "".join(CHARACTER_OF_BYTE[byte] for byte in token)


def unspell(token: str) -> bytes:
    """The bytes that such characters stand for.

    Raises:
        ValueError: when a character stands for no byte.
    """
    try:
        return bytes([_BYTE_OF_CHARACTER[character] for character in token])
    except KeyError as error:
        raise ValueError(f"must consist of characters that stand for bytes, got {error.args[0]!r}") from None
