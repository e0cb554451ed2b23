"""Bodies of requests: JSON, and forms with a file.  Knows no path and no model."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from email.utils import decode_rfc2231
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from reread.serve.problems import Refused
from reread.serve.requests import DocumentRequest

MOST_FIELDS = 8  # of a form, beside its file
EXTENDED = re.compile(rb";[ \t]*filename\*[ \t]*=[ \t]*\"?([^;\r\n\"]+)\"?", re.IGNORECASE)
PLAIN = re.compile(rb";[ \t]*filename[ \t]*=[ \t]*(?:\"(?:\\.|[^\"\\\r\n])*\"|[^;\r\n]*)", re.IGNORECASE)


def check_body(headers: dict[str, str], body: bytes) -> None:
    """Raise Refused for a compressed body, and for JSON that is not UTF-8.  headers: by name in lower case."""
    packed = headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise Refused(415, "a compressed body is not read", got=packed[:40], todo="send it without Content-Encoding")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        told = "a gzip file" if body[:2] == b"\x1f\x8b" else f"byte {error.start} is {body[error.start]:#04x}"
        raise Refused(400, "the request is JSON that is not UTF-8", got=told, todo="send UTF-8") from error


async def json_of(request: Request) -> Any:
    """The JSON of a body.  Raises Refused."""
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the request is not JSON: {str(error)[:120]}") from error


def with_plain_name(head: bytes) -> bytes:
    """The header lines of a part, with `filename*` (RFC 5987), which the parser does not know, as `filename`."""
    found = EXTENDED.search(head)
    if found is None:
        return head
    charset, _, encoded = decode_rfc2231(found[1].decode("latin-1"))
    try:
        name = unquote_to_bytes(encoded or "").decode(charset or "utf-8")
    except (LookupError, ValueError) as error:
        raise Refused(400, "the name of the file is not readable", got=found[1].decode("latin-1")[:80]) from error
    quoted = re.sub(r'[\x00-\x1f\x7f"\\]', "_", name).encode("utf-8", "replace")
    return EXTENDED.sub(b"", PLAIN.sub(b"", head)).replace(b"\r\n", b'; filename="' + quoted + b'"\r\n', 1)


def with_plain_names(body: bytes, boundary: bytes) -> bytes:
    """A multipart body in which every file has a plain name."""
    if not boundary or not EXTENDED.search(body):
        return body
    heads = re.compile(rb"(?:\A|(?<=\r\n))--" + re.escape(boundary) + rb"\r\n(?P<head>(?:[^\r\n]+\r\n)+)")
    return heads.sub(lambda match: b"--" + boundary + b"\r\n" + with_disposition(match["head"]), body)


def with_disposition(head: bytes) -> bytes:
    """The header lines of a part, its Content-Disposition with a plain name."""
    lines = re.findall(rb"[^\r\n]+\r\n", head)
    disposed = [line.lower().startswith(b"content-disposition") for line in lines]
    return b"".join(with_plain_name(line) if is_it else line for line, is_it in zip(lines, disposed, strict=True))


async def parsed(request: Request) -> FormData:
    """The parts of a multipart form.  Raises Refused."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""), re.IGNORECASE)
    body = with_plain_names(await request.body(), boundary[1].strip().encode("latin-1") if boundary else b"")

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        return await MultiPartParser(request.headers, stream(), max_files=1, max_fields=MOST_FIELDS).parse()
    except (MultiPartException, KeyError) as error:
        told = getattr(error, "message", "it names no boundary")
        raise Refused(400, f"the form is not readable: {str(told).rstrip('.')}") from error


async def form_of(request: Request) -> tuple[bytes, DocumentRequest]:
    """The file of a form, and how it is to be read.  Raises Refused, and pydantic's ValidationError."""
    form = await parsed(request)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile) or "text" in form:
            raise Refused(400, "a form holds one file, and no text", todo="name its part: file", param="file")
        fields: dict[str, Any] = {key: value for key, value in form.items() if key != "file"}
        data, name = await file.read(), file.filename or "document.txt"
    finally:
        await form.close()
    budget, keep = str(fields.get("budget", "")), fields.get("keep_tokens")
    if budget.isdecimal() and len(budget) < 10:  # what is no such value is refused below, in words
        fields["budget"] = int(budget)
    if keep in ("true", "false"):
        fields["keep_tokens"] = keep == "true"
    return data, DocumentRequest.model_validate({"name": name, **fields, "text": ""})
