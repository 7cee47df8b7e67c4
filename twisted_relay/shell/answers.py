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
    is_error: bool = False


def as_json(status: int, body: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return ``body`` as a JSON answer."""
    return Answer(status, _as_bytes(body), JSON_TYPE, headers or {})


def _as_bytes(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error: a stable code, and a sentence for a person."""
    body = {"code": code, "message": message}
    return Answer(status, _as_bytes(body), JSON_TYPE, headers or {}, is_error=True)


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
    return Answer(_STATUS.get(why.code, 400), _as_bytes(body), JSON_TYPE, headers, is_error=True)


def not_found() -> Answer:
    """Return the answer for a path that does not exist."""
    return error(404, "ERR_NOT_FOUND", "There is nothing here.")


def internal_error() -> Answer:
    """Return the answer for a bug of ours: nothing about it leaves the process."""
    return error(500, "ERR_INTERNAL", "The relay failed to answer this.")


def detailed(answer: Answer, request_id: str | None, seconds: float) -> Answer:
    """Return an error with its status, its time and its request's id (FEATURE_DETAILED_ERRORS).

    That is all: what went wrong inside is for the log, where the id finds it.
    """
    body: dict[str, Any] = {"status": answer.status, "timestamp": int(seconds * 1000)}
    if request_id is not None:
        body["requestId"] = request_id
    return attrs.evolve(answer, body=_as_bytes(json.loads(answer.body) | body))


def send(request: Any, answer: Answer) -> None:
    """Write ``answer`` to a `site.RelayRequest` and finish; for HEAD without its body."""
    if answer.is_error and request.site.edge.detailed_errors:
        answer = detailed(answer, request.request_id, request.site.desk.seconds())
    # twisted.web does not know the phrases of 426 and 429.
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
    if answer.body:
        request.setHeader("Content-Type", answer.content_type)
        request.setHeader("Content-Length", str(len(answer.body)))
    for name, value in answer.headers.items():
        said = request.responseHeaders.getRawHeaders(name, []) if name == "Vary" else []
        request.setHeader(name, ", ".join([*said, value]))
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

    def bug(self, route: str, failure: Failure, request: Any) -> None:
        """Count and log an unexpected exception, once, under the route's template."""
        self.metrics.count_unhandled(route)
        self.log.failure(
            "an HTTP request failed",
            failure=failure,
            event="unhandled_error",
            route=route,
            request_id=request.request_id,
        )


class Endpoint(Resource):
    """One route. A subclass answers in ``answer``, which may await and may raise RelayError.

    ``route`` is the template that stands for the path in metrics and logs; ``methods`` are those
    that are answered (HEAD comes with GET). ``limited`` calls count against the address that makes
    them (MAX_HTTP_PER_IP_PER_MIN), whatever else the request asks for.
    """

    isLeaf = True
    route = OTHER
    methods: tuple[bytes, ...] = (b"GET", b"HEAD")
    limited = False

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    async def answer(self, request: Request) -> Answer:
        """Return the answer."""
        raise NotImplementedError

    def render(self, request: Any) -> int:
        """Answer ``request``, now or when the answer is there; called by twisted.web."""
        if getattr(request, "postpath", None):
            # A leaf is asked for whatever is below it, too; nothing is.
            return NotFound(self.desk).render(request)
        at_once = self._over_limit(request) or self._about_methods(request)
        if at_once is not None:
            self._finish(request, at_once)
            return NOT_DONE_YET
        began = self.desk.seconds()
        gone: list[Failure] = []
        # A client that leaves does not stop the work, only the answer.
        request.notifyFinish().addErrback(gone.append)
        work = Deferred.fromCoroutine(self.answer(request))
        work.addErrback(self._explained, request)
        work.addCallback(lambda answer: None if gone else self._finish(request, answer, began))
        work.addErrback(lambda failure: self.desk.bug(self.route, failure, request))
        return NOT_DONE_YET

    def _over_limit(self, request: Any) -> Answer | None:
        edge = request.site.edge
        wait = edge.wait_seconds(request.caller, self.desk.seconds()) if self.limited else None
        if wait is None:
            return None
        self.desk.metrics.http_rate_limited += 1
        self.desk.log.warn(
            "HTTP rate limit exceeded",
            event="http_rate_limit",
            route=self.route,
            client_address=request.caller,
            request_id=request.request_id,
        )
        message = "There are too many calls from this address; wait a little."
        return self._refusal(RelayError(Code.RATE_LIMITED, message, retry_after_ms=wait * 1000))

    def _about_methods(self, request: Any) -> Answer | None:
        """The answer to what is asked about methods, or with one that is none of this route's."""
        allow = b", ".join(self.methods).decode()
        granted = request.site.edge.preflight(request, allow)
        if granted is not None:
            return Answer(204, b"", headers=granted)
        if request.method in self.methods:
            return None
        return error(405, "ERR_METHOD_NOT_ALLOWED", f"Allowed here: {allow}.", {"Allow": allow})

    def _explained(self, failure: Failure, request: Any) -> Answer:
        if isinstance(failure.value, RelayError):
            return self._refusal(failure.value)
        self.desk.bug(self.route, failure, request)
        return internal_error()

    def _refusal(self, why: RelayError) -> Answer:
        self.desk.metrics.errors_sent[why.code.value] += 1
        return refusal(why)

    def _finish(self, request: Any, answer: Answer, began: float | None = None) -> None:
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
                request_id=request.request_id,
            )
        self.desk.metrics.count_http(self.route, answer.status)
        send(request, answer)


class NotFound(Endpoint):
    """Whatever path has no endpoint: 404 for every method."""

    def __init__(self, desk: Desk, limited: bool = False) -> None:
        super().__init__(desk)
        self.limited = limited

    def render(self, request: Any) -> int:
        """Answer 404."""
        self._finish(request, self._over_limit(request) or not_found())
        return NOT_DONE_YET
