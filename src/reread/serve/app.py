"""The paths: models, chats, completions, documents, health, metrics, and one page.

Each path parses, asks the desk, hands jobs to the worker and awaits what it tells; no path waits for the model
in the event loop.  What can be asked is in requests.py, what is kept in desk.py.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from reread.documents.loaders import Source, source_of
from reread.documents.pdf import end_all
from reread.errors import RereadError
from reread.serve.answers import Answers, Left, Streamed, chunks, unless_gone
from reread.serve.config import ServeConfig
from reread.serve.desk import Desk
from reread.serve.forms import form_of, json_of
from reread.serve.guard import Guard, extra_headers
from reread.serve.metrics import Metrics
from reread.serve.problems import Refused, problem, problem_of
from reread.serve.replies import Reply
from reread.serve.requests import ChatRequest, CompletionRequest, DocumentRequest, document_and_question
from reread.serve.worker import Start, Worker

T = TypeVar("T")
PARSERS = 2  # documents that are turned into text at once
LISTED = 1000
LONGEST_NAME = 120


class Service:
    """What the paths share."""

    def __init__(self, config: ServeConfig, desk: Desk, worker: Worker):
        self.config, self.desk, self.worker = config, desk, worker
        self.metrics = Metrics(worker)
        self.began = int(time.time())
        self.words = ThreadPoolExecutor(PARSERS, thread_name_prefix="reread-words")
        self.parsers = ThreadPoolExecutor(PARSERS, thread_name_prefix="reread-documents")

    async def off_loop(self, pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, function)

    def model(self) -> dict[str, Any]:
        model = self.desk.reader.lm.model
        told = {"id": self.desk.name, "object": "model", "created": self.began, "owned_by": "reread"}
        limits = {"max_tokens": self.config.max_tokens, "max_prompt_tokens": self.config.max_prompt_tokens}
        return {**told, "fingerprint": model.fingerprint, "noncausal_prefix": model.noncausal_prefix, **limits}

    def check(self, body: ChatRequest | CompletionRequest) -> None:
        """Raise Refused for another model, unknown fields, and more new tokens than are written here."""
        body.check_rest()
        if body.model not in (self.desk.name, self.desk.reader.lm.name):
            todo = "GET /v1/models lists what is served"
            raise Refused(
                404,
                "no such model",
                got=body.model[:80],
                allowed=self.desk.name,
                todo=todo,
                param="model",
                code="model_not_found",
            )
        if (body.named or 0) > self.config.max_tokens:
            raise Refused(
                400,
                "more new tokens than are written here",
                got=body.named,
                allowed=self.config.max_tokens,
                param="max_tokens",
            )

    async def respond(
        self, request: Request, body: Any, reply: Reply, starts: Sequence[Callable[[], Start]]
    ) -> Response:
        """The answers of one request, whole or as they are written; given up when the client leaves."""
        answers = Answers(self.worker, starts, body, body.most(self.config.max_tokens))
        try:
            if not body.stream:
                dones = await unless_gone(request, answers.all())
                for done in dones:
                    self.metrics.answered(done)
                return JSONResponse(reply.whole(dones))
            first = await unless_gone(request, answers.next())  # a mistake is an error, no stream that breaks off
        except BaseException:
            answers.cancel()
            raise
        return Streamed(answers, chunks(answers, reply, first, self.metrics.answered, usage=body.wants_usage))

    async def chat(self, request: Request, body: ChatRequest) -> Response:
        self.check(body)
        options = body.reread
        asked = document_and_question(body.messages, options.document)

        def lay_out() -> Callable[[], Start]:
            if options.document is not None:
                return self.desk.from_document(options.document, asked.question, options.ways)
            return self.desk.from_text(asked.document or "", asked.question, options.ways)

        start = await self.off_loop(self.words, lay_out)
        reply = self.reply(chat=True, messages_not_shown=asked.not_shown)
        return await self.respond(request, body, reply, [start])

    async def completion(self, request: Request, body: CompletionRequest) -> Response:
        self.check(body)
        if not 1 <= len(body.prompts) <= self.config.concurrency:
            most = self.config.concurrency
            raise Refused(
                400,
                "a list of prompts holds one or more",
                got=len(body.prompts),
                allowed=f"{most} at most",
                param="prompt",
            )
        options = body.reread
        for name in ("strategy", "budget", "window", "select"):
            if options.document is None and getattr(options, name) is not None:
                raise Refused(400, f"a prompt is read as it stands, and {name} lays documents out", param="reread")

        def lay_out(text: str) -> Callable[[], Start]:
            if options.document is None:
                return self.desk.from_prompt(text, options.ways)
            return self.desk.from_document(options.document, text, options.ways, raw=True)

        starts = await self.off_loop(self.words, lambda: [lay_out(text) for text in body.prompts])
        return await self.respond(request, body, self.reply(chat=False), starts)

    def reply(self, *, chat: bool, **more: Any) -> Reply:
        return Reply(chat, self.desk.name, self.desk.reader.lm.model.fingerprint, more)

    async def keep(self, request: Request) -> dict[str, Any]:
        """A document from JSON or a form with a file, read once into the store."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            asked = DocumentRequest.model_validate(await json_of(request))
            data = asked.text.encode()
        elif kind == "multipart/form-data":
            data, asked = await form_of(request)
        else:
            todo = "send JSON with a text, or multipart/form-data with a file"
            raise Refused(415, "a document comes as JSON or as a form", got=kind[:60], todo=todo)

        def parse() -> tuple[Source, Any]:
            source = source_of(data, plain_name(asked.name))
            return source, self.desk.show(source, asked.ways)

        source, shown = await unless_gone(request, self.off_loop(self.parsers, parse))
        keeping = self.worker.call(lambda: self.desk.keep(source, shown, asked.ways))
        told = await unless_gone(request, awaited(keeping))
        self.metrics.documents.labels("there" if told["already_there"] else "read").inc()
        return told

    async def documents(self, limit: int) -> dict[str, Any]:
        found = await self.off_loop(self.words, self.desk.listed)
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit}

    async def document(self, id: str) -> dict[str, Any]:
        return await self.off_loop(self.words, lambda: self.desk.describe(id))

    async def text(self, id: str) -> dict[str, Any]:
        return await self.off_loop(self.words, lambda: self.desk.text(id))

    async def remove(self, id: str) -> dict[str, Any]:
        await awaited(self.worker.call(lambda: self.desk.remove(id)))
        return {"id": id, "object": "document.deleted", "deleted": True}

    def health(self) -> Response:
        told = {"model": self.desk.name, "waiting": self.worker.waiting, "writing": self.worker.writing}
        alive = self.worker.alive
        return JSONResponse({"status": "ok" if alive else "failed", **told}, 200 if alive else 503)


async def awaited(future: Any) -> Any:
    return await asyncio.wrap_future(future)


def plain_name(name: str) -> str:
    """A document's name without folders, of printable characters, not too long; never used as a path."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(c for c in last if c.isprintable()).strip()
    return plain[-LONGEST_NAME:].lstrip(".") or "document.txt"


def page() -> tuple[str, str]:
    """The page and its Content-Security-Policy: its own script and style by their hashes, requests to this server."""
    file = resources.files("reread") / "assets" / "serve" / "page.html"
    text = file.read_text(encoding="utf-8")

    def hashed(tag: str) -> str:
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"

    policy = {
        "default-src": "'none'",
        "script-src": hashed("script"),
        "style-src": hashed("style"),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return text, "; ".join(f"{name} {value}" for name, value in policy.items())


def said(status: int, told: dict[str, Any]) -> JSONResponse:
    headers = {name.decode(): value.decode() for name, value in extra_headers(status)}
    return JSONResponse(told, status, headers=headers)


def worst_of(error: RequestValidationError | ValidationError) -> JSONResponse:
    """What is wrong in the fields of a request, as a 400: of a choice of forms, where the nearest one fails."""
    found = max(error.errors(), key=lambda one: len(one["loc"]))
    names = [
        part for part in found["loc"] if isinstance(part, int) or (part.isidentifier() and part not in ("body", "str"))
    ]
    where = ".".join(map(str, names))
    if found["type"] == "json_invalid":
        return said(400, problem(400, f"the request is not JSON: {found['ctx']['error']}."))
    what = {"extra_forbidden": "unknown field", "missing": "this is needed"}.get(found["type"], found["msg"])
    plain = found["type"] == "missing" or isinstance(found.get("input"), dict | list)
    got = "" if plain else f"; got {str(found.get('input'))[:60]!r}"
    return said(400, problem(400, f"{where or 'the request'}: {what}{got}.", param=where or None))


def add_failures(app: FastAPI) -> None:
    """Every failure in one shape."""

    @app.exception_handler(RereadError)
    async def known(request: Request, error: RereadError) -> Response:
        return said(*problem_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        whats = {404: f"no such path: {request.method} {request.url.path[:80]}.", 405: "this path has no such method."}
        message = whats.get(error.status_code, f"{str(error.detail).rstrip('.')}.")
        response = said(error.status_code, problem(error.status_code, message))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def fields(request: Request, error: RequestValidationError) -> Response:
        if isinstance(error.body, bytes):  # taken for no JSON
            message = "the request is JSON; send it with the header Content-Type: application/json."
            return said(400, problem(400, message))
        return worst_of(error)

    @app.exception_handler(ValidationError)
    async def form_fields(request: Request, error: ValidationError) -> Response:
        return worst_of(error)

    @app.exception_handler(Left)
    async def left(request: Request, error: Left) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return said(*problem_of(error))


def add_documents(app: FastAPI, service: Service) -> None:
    """Documents as a resource."""

    @app.post("/v1/documents")
    async def keep(request: Request) -> dict[str, Any]:
        return await service.keep(request)

    @app.get("/v1/documents")
    async def documents(limit: int = 100) -> dict[str, Any]:
        if not 1 <= limit <= LISTED:
            raise Refused(400, "the limit is out of range", got=limit, allowed=f"1 to {LISTED}", param="limit")
        return await service.documents(limit)

    @app.get("/v1/documents/{id}")
    async def document(id: str) -> dict[str, Any]:
        return await service.document(id)

    @app.get("/v1/documents/{id}/text")
    async def text(id: str) -> dict[str, Any]:
        return await service.text(id)

    @app.delete("/v1/documents/{id}")
    async def remove(id: str) -> dict[str, Any]:
        return await service.remove(id)


def make_app(config: ServeConfig, desk: Desk, worker: Worker) -> Guard:
    """The application, behind its guard."""
    service = Service(config, desk, worker)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker.begin()
        yield
        await asyncio.to_thread(worker.stop)
        end_all()
        for pool in (service.words, service.parsers):
            pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="reread", lifespan=lifespan, docs_url=None, redoc_url=None)
    add_failures(app)
    text, policy = page()

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return Response(text, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})

    @app.get("/health")
    async def health() -> Response:
        return service.health()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [service.model()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name not in (desk.name, desk.reader.lm.name):
            raise Refused(404, "no such model", got=name[:80], allowed=desk.name, param="model", code="model_not_found")
        return service.model()

    @app.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatRequest) -> Response:
        return await service.chat(request, body)

    @app.post("/v1/completions")
    async def completion(request: Request, body: CompletionRequest) -> Response:
        return await service.completion(request, body)

    add_documents(app, service)
    return Guard(app, config, service.metrics)
