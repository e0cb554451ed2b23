"""Failures in the shape that OpenAI's clients know: {"error": {"message", "type", "param", "code"}}.

Knows no request; what can go wrong elsewhere in the package becomes a status here, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from reread.errors import BadInput, BadState, MissingPackage, RereadError, StoreTrouble

INVALID, SERVER = "invalid_request_error", "server_error"
CODES = {
    400: "bad_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "bad_state",
    413: "request_too_large",
    415: "unsupported_document",
    429: "too_many_requests",
    500: "internal_error",
    501: "missing_package",
    503: "unavailable",
}
WORDS = {429: "rate_limit_error", 401: "authentication_error"}


class Refused(BadInput):
    """A request that is not answered, and the HTTP status that says so; param: the field at fault."""

    def __init__(self, status: int, what: str, *, param: str | None = None, code: str = "", **said: Any):
        super().__init__(what, **said)
        self.status, self.param, self.code = status, param, code or CODES[status]


def status_of(error: Exception) -> int:
    """400 for a mistake of the client, 409 for a state that does not fit, 501 for what is not installed here, 503 for a
    store that cannot be used now."""
    if isinstance(error, Refused):
        return error.status
    kinds = {BadState: 409, MissingPackage: 501, StoreTrouble: 503, RereadError: 400}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 500)


def problem(status: int, message: str, *, param: str | None = None, code: str = "") -> dict[str, Any]:
    kind = WORDS.get(status, SERVER if status >= 500 else INVALID)
    known = CODES.get(status, SERVER if status >= 500 else "bad_request")
    return {"error": {"message": message, "type": kind, "param": param, "code": code or known}}


def problem_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error; of one that nobody foresaw, not what it says."""
    status = status_of(error)
    if isinstance(error, Refused):
        return status, problem(status, str(error), param=error.param, code=error.code)
    if isinstance(error, RereadError):
        return status, problem(status, str(error))
    return status, problem(status, "the server failed at this request; its log says why.")
