"""The paths of the server."""

import asyncio
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from commands.serve.errors import ApiError, answer_api_error, answer_failure, answer_http_error
from commands.serve.fields import ChatFields, CompletionFields
from commands.serve.guard import Guard, body_of
from commands.serve.page import page
from commands.serve.service import Answer, Service

_GRACE_S = 5  # for a client that reads slowly, after the time of an answer is over


def build_app(service: Service, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> Starlette:
    """The application: the page, and OpenAI's API for a model.

    Args:
        service: answers.
        hosts: names of this server, beside `localhost` and all addresses.
        origins: of other sites whose pages may ask; `https://example.org`, for example.
    """

    async def show_page(request: Request) -> Response:
        return page()

    async def list_models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [service.card()]})

    async def show_model(request: Request) -> Response:
        if (name := request.path_params["name"]) != service.name:
            raise ApiError(404, f"model: {name} is not here; there is {service.name}", "model", "model_not_found")
        return JSONResponse(service.card())

    async def chat(request: Request) -> Response:
        fields = ChatFields.parse(await body_of(request))
        return await _respond(request, service.chat(fields), fields)

    async def complete(request: Request) -> Response:
        fields = CompletionFields.parse(await body_of(request))
        return await _respond(request, service.completion(fields), fields)

    guards = [Middleware(Guard, hosts, origins)]
    if origins:
        guards.append(Middleware(CORSMiddleware, allow_origins=[*origins], allow_methods=["*"], allow_headers=["*"]))
    app = Starlette(
        routes=[
            Route("/", show_page),
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", show_model),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", complete, methods=["POST"]),
        ],
        middleware=guards,
        exception_handlers={ApiError: answer_api_error, HTTPException: answer_http_error, Exception: answer_failure},
    )
    app.router.redirect_slashes = False
    return app


async def _respond(request: Request, answer: Answer, fields: ChatFields | CompletionFields) -> Response:
    answer.begin()
    if fields.stream:
        return _Stream(answer, include_usage=bool(fields.stream_options and fields.stream_options.include_usage))
    writing = asyncio.ensure_future(answer.whole())
    leaving = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(await writing) if writing.done() else Response(status_code=499)  # which nobody reads
    finally:
        answer.leave()
        writing.cancel()
        leaving.cancel()


async def _until_gone(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """An answer while it grows. However it ends, also when the client leaves, the engine writes no more of it."""

    def __init__(self, answer: Answer, *, include_usage: bool) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(answer.events(include_usage=include_usage), headers=headers, media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            async with asyncio.timeout_at(self._answer.deadline + _GRACE_S):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            pass  # it does not read
        finally:
            self._answer.leave()
