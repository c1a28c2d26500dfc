"""Who may ask. A server on somebody's own machine must check that, because every web page open there can reach it.

A page of another site may not make requests (cross-site requests), and none may pretend that its own name leads here
(DNS rebinding: https://en.wikipedia.org/wiki/DNS_rebinding). A name that leads somewhere else later must be a name; so
a host that is written as an address is never such a one.
"""

import asyncio
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from commands.serve.errors import ApiError

BODY_BYTES, BODY_S = 2**20, 20  # the largest body, and how long it may take to arrive


class Guard:
    """Lets those requests pass whose Host is this server and whose Origin is this server or an allowed one."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        """
        Args:
            app: gets what passes.
            hosts: names of this server, beside `localhost` and all addresses.
            origins: of other sites whose pages may ask.
        """
        self._app, self._hosts, self._origins = app, {host.lower() for host in hosts}, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and (error := self._wrong(Headers(scope=scope))):
            await error.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _wrong(self, headers: Headers) -> ApiError | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return ApiError(
                403, f"Host: must be a name of this server (--allow-host adds one), got {', '.join(hosts) or 'none'}"
            )
        for origin in origins:
            if origin not in self._origins and origin != f"http://{hosts[0]}":
                return ApiError(403, f"Origin: pages of {origin} may not ask (--allow-origin lets them)")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
            is_host = host == parts.netloc and parts.username is None and (parts.port is None or parts.port >= 0)
        except ValueError:  # not a number, or brackets without an address
            return False
        return is_host and (name == "localhost" or name in self._hosts or _is_address(name))


async def body_of(request: Request) -> bytes:
    """The body of a request.

    Raises:
        ApiError: when it is no JSON by its type, is too large, or does not arrive in time.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type: must be application/json, got {kind or 'none'}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES:
                    raise ApiError(413, f"the body must have at most {BODY_BYTES} bytes")
    except TimeoutError:
        raise ApiError(408, f"the body must arrive within {BODY_S} seconds") from None
    except ClientDisconnect:
        raise ApiError(400, "the body ended too early") from None
    return bytes(body)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
