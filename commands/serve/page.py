"""The web page: one document that needs nothing else, put together from its parts in `page/`."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("api.js", "store.js", "tokens.js", "messages.js", "panel.js", "main.js")


@cache
def page() -> HTMLResponse:
    """The page, with headers that let it run its own script and speak to this server, and nothing else."""
    style = _read("page.css")
    script = "".join(map(_read, _SCRIPTS))
    html = _read("page.html").replace("{style}", style).replace("{script}", script)
    policy = {
        "default-src": "'none'",
        "script-src": f"'{_hash(script)}'",
        "style-src": f"'{_hash(style)}'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    return HTMLResponse(html, headers=headers)


def _read(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
