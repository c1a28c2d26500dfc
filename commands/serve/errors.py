"""What is wrong with a request, in the form that OpenAI's API has for it.

https://platform.openai.com/docs/guides/error-codes: `{"error": {"message", "type", "param", "code"}}`. Clients try
again after 429 and after 5xx, and not after other statuses.
"""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_TYPES = {429: "rate_limit_error", 500: "server_error", 503: "server_error", 504: "timeout"}


class ApiError(Exception):
    """A request that gets no answer, and why.

    Attributes:
        status: of HTTP.
        message: one line for a person.
        param: the field that is wrong.
        code: for a program.
    """

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def body(self) -> dict[str, Any]:
        """What the client gets."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        param = self.param and _plain(self.param)
        return {"error": {"message": _plain(self.message), "type": kind, "param": param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body, self.status)


async def answer_api_error(request: Request, error: Exception) -> Response:
    """The answer for an `ApiError`."""
    assert isinstance(error, ApiError)
    return error.response()


async def answer_http_error(request: Request, error: Exception) -> Response:
    """The answer for an error of the framework, such as a path that does not exist."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    messages = {404: f"{where}: there is nothing here", 405: f"{where}: this path takes other methods"}
    response = ApiError(error.status_code, messages.get(error.status_code, error.detail)).response()
    response.headers.update(error.headers or {})
    return response


async def answer_failure(request: Request, error: Exception) -> Response:
    """The answer for a mistake of ours, which the log shows."""
    return ApiError(500, "the server has made a mistake; its log says which").response()


def _plain(text: str) -> str:
    """One line of characters that JSON can hold: a request may hold half of one."""
    return " ".join(text.encode(errors="backslashreplace").decode().split())
