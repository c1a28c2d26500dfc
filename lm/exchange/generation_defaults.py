"""How an exported model generates text if nothing else is said."""

from typing import Any


def generation_defaults(temperature: float, top_k: int | None, top_p: float | None) -> dict[str, Any]:
    """What generation_config.json holds besides ids."""
    if temperature == 0:
        return {"do_sample": False}
    filters = {"top_k": top_k or 0, "top_p": 1.0 if top_p is None else top_p}  # there these mean "off"
    return {"do_sample": True, "temperature": temperature, **filters}
