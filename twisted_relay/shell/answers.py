# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""How the relay answers an HTTP call: JSON, a stable code for each error, and a bug only once."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.metrics import OTHER, Metrics

JSON_TYPE = "application/json; charset=utf-8"
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_STATUS = {Code.NO_ROOM: 404, Code.RATE_LIMITED: 429, Code.UNAVAILABLE: 503}


@attrs.frozen
class Answer:
    """A whole answer. ``headers`` are added to those that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = attrs.Factory(dict)


def as_json(status: int, body: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return ``body`` as a JSON answer."""
    return Answer(
        status, json.dumps(body, separators=(",", ":")).encode(), JSON_TYPE, headers or {}
    )


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error: a stable code, and a sentence for a person."""
    return as_json(status, {"code": code, "message": message}, headers)


def refusal(why: RelayError) -> Answer:
    """Return what a refusal of the relay's is over HTTP; this is the one place that maps them."""
    headers: dict[str, str] = {}
    body: dict[str, Any] = {"code": why.code.value, "message": why.message}
    if why.retry_after_ms is not None:
        # RFC 9110 section 10.2.3: whole seconds.
        headers["Retry-After"] = str(max(1, math.ceil(why.retry_after_ms / 1000)))
        body["retryAfterMs"] = why.retry_after_ms
    elif why.code in (Code.RATE_LIMITED, Code.UNAVAILABLE):
        headers["Retry-After"] = "1"
    return as_json(_STATUS.get(why.code, 400), body, headers)


def not_found() -> Answer:
    """Return the answer for a path that does not exist."""
    return error(404, "ERR_NOT_FOUND", "There is nothing here.")


def internal_error() -> Answer:
    """Return the answer for a bug of ours: nothing about it leaves the process."""
    return error(500, "ERR_INTERNAL", "The relay failed to answer this.")


def send(request: Request, answer: Answer) -> None:
    """Write ``answer`` and finish; for HEAD without its body."""
    # twisted.web does not know the phrases of 426 and 429.
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
    request.setHeader("Content-Type", answer.content_type)
    request.setHeader("Content-Length", str(len(answer.body)))
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    # twisted.web drops the body itself for HEAD.
    request.write(answer.body)
    request.finish()


@attrs.define
class Desk:
    """What every endpoint shares: where it counts and logs, and the clock in seconds."""

    metrics: Metrics
    log_requests: bool = False
    seconds: Callable[[], float] = time.time
    log: Logger = attrs.Factory(lambda: Logger(namespace="twisted_relay.http"))

    def bug(self, route: str, failure: Failure) -> None:
        """Count and log an unexpected exception, once, under the route's template."""
        self.metrics.count_unhandled(route)
        self.log.failure(
            "an HTTP request failed", failure=failure, event="unhandled_error", route=route
        )


class Endpoint(Resource):
    """One route. A subclass answers in ``answer``, which may await and may raise RelayError.

    ``route`` is the template that stands for the path in metrics and logs; ``methods`` are those
    that are answered (HEAD comes with GET).
    """

    isLeaf = True
    route = OTHER
    methods: tuple[bytes, ...] = (b"GET", b"HEAD")

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    async def answer(self, request: Request) -> Answer:
        """Return the answer."""
        raise NotImplementedError

    def render(self, request: Request) -> int:
        """Answer ``request``, now or when the answer is there; called by twisted.web."""
        if getattr(request, "postpath", None):
            # A leaf is asked for whatever is below it, too; nothing is.
            return NotFound(self.desk).render(request)
        if request.method not in self.methods:
            allow = b", ".join(self.methods).decode()
            self._finish(
                request,
                error(405, "ERR_METHOD_NOT_ALLOWED", f"Allowed here: {allow}.", {"Allow": allow}),
            )
            return NOT_DONE_YET
        began = self.desk.seconds()
        gone: list[Failure] = []
        # A client that leaves does not stop the work, only the answer.
        request.notifyFinish().addErrback(gone.append)
        work = Deferred.fromCoroutine(self.answer(request))
        work.addErrback(self._explained)
        work.addCallback(lambda answer: None if gone else self._finish(request, answer, began))
        work.addErrback(lambda failure: self.desk.bug(self.route, failure))
        return NOT_DONE_YET

    def _explained(self, failure: Failure) -> Answer:
        if isinstance(failure.value, RelayError):
            code = failure.value.code.value
            self.desk.metrics.errors_sent[code] += 1
            return refusal(failure.value)
        self.desk.bug(self.route, failure)
        return internal_error()

    def _finish(self, request: Request, answer: Answer, began: float | None = None) -> None:
        if self.desk.log_requests:
            method = request.method if request.method in _METHODS else b"OTHER"
            took = 0.0 if began is None else self.desk.seconds() - began
            self.desk.log.info(
                "{method} {route} {status}",
                event="request",
                method=method.decode(),
                route=self.route,
                status=answer.status,
                duration_ms=round(took * 1000, 3),
            )
        self.desk.metrics.count_http(self.route, answer.status)
        send(request, answer)


class NotFound(Endpoint):
    """Whatever path has no endpoint: 404 for every method."""

    def render(self, request: Request) -> int:
        """Answer 404."""
        self._finish(request, not_found())
        return NOT_DONE_YET
