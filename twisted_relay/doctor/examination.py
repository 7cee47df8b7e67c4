"""All checks, side by side, each with a limit: what hangs costs its own findings only."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from twisted_relay.core.redis_url import parse_redis_url
from twisted_relay.doctor import files, load, probes, redis_verdicts, talk_verdicts, tls
from twisted_relay.doctor.clock import NAME as CLOCK
from twisted_relay.doctor.clock import judge_relay_clock
from twisted_relay.doctor.counts import Counts, Series, between, read_series
from twisted_relay.doctor.deployment import Deployment, judge_settings
from twisted_relay.doctor.findings import DROPS, SLOW, TLS, Finding, fail, skipped
from twisted_relay.doctor.network import Answer, Unreachable, Web
from twisted_relay.doctor.order import Order
from twisted_relay.doctor.probes import Reply
from twisted_relay.doctor.proxies import (
    SPOOF,
    Asked,
    judge_belief,
    judge_origins,
    judge_trust_setting,
)
from twisted_relay.doctor.redis import RedisVisit
from twisted_relay.doctor.routes import leads_out
from twisted_relay.doctor.secrecy import judge_env_file, judge_old_secrets, judge_secret
from twisted_relay.doctor.talk import Talk
from twisted_relay.doctor.target import Target

_HEALTH_CALLS = 3
_METRICS_CALLS = 6
"""Behind a proxy the instances may answer in turn, and counts are of one."""

Part = Callable[[list[Finding]], Coroutine[Any, Any, None]]
"""Makes some checks, and puts what it finds into the list as it finds it."""


class Examination:
    """One examination of one deployment."""

    def __init__(self, reactor: Any, order: Order, deployment: Deployment) -> None:
        self._reactor, self._order, self._deployment = reactor, order, deployment
        self._web = Web(reactor, order.trust, order.limit)

    async def make(self) -> list[Finding]:
        """Every finding, in the order of the report."""
        parts: tuple[tuple[tuple[str, ...], Part], ...] = (
            (("live", "ready", "proxy-trust", "instance", *probes.NAMES), self._probes),
            (("websocket", "subprotocol", "ping", CLOCK, "room", "secret-in-use"), self._talk),
            (tls.NAMES, self._tls),
            (redis_verdicts.NAMES, self._redis),
            ((*load.NAMES, files.NAME), self._load),
        )
        done: Any = await DeferredList([self._bounded(*names_and_part) for names_and_part in parts])
        findings = [finding for _success, found in done for finding in found]
        return [*findings, *self._told()]

    def _bounded(self, names: Sequence[str], part: Part) -> Deferred[list[Finding]]:
        """Run a part; whatever becomes of it, there is something to say of each of its checks.

        It is not waited for when the time is over: it may be in the middle of a question, with more
        to come.
        """
        seconds = self._order.bound
        said: list[Finding] = []
        over: Deferred[list[Finding]] = Deferred()

        def end(seen: str, cure: str, chapter: str) -> None:
            if over.called:
                return
            done = {finding.name for finding in said}
            missing = [name for name in names if name not in done]
            if missing:
                said.append(fail(missing[0], seen, cure, chapter))
                said.extend(skipped(name, seen) for name in missing[1:])
            over.callback(list(said))

        def failed(failure: Any) -> None:
            seen = f"what was answered makes no sense ({failure.type.__name__})"
            end(seen, "See what it is that answers there.", DROPS)

        late = "Run it again, and see what takes so long: network, proxy or relay."
        timer = self._reactor.callLater(
            seconds, end, f"not done within {seconds:.0f} s", late, SLOW
        )
        running = Deferred.fromCoroutine(part(said))
        running.addCallbacks(lambda _: end("nothing came of it", late, SLOW), failed)

        def stop(found: list[Finding]) -> list[Finding]:
            if timer.active():
                timer.cancel()
            return found

        return over.addCallback(stop)

    async def _probes(self, said: list[Finding]) -> None:
        target = self._order.target
        plain, spoofed, ready = await self._together(
            self._get(target, "/live"),
            self._get(target, "/live", **SPOOF),
            self._get(target, "/ready"),
        )
        said += (
            probes.judge_live(plain),
            probes.judge_ready(ready),
            judge_belief(Asked(plain, spoofed), target),
        )
        health = [await self._details("/health")]
        if isinstance(health[0], Answer):
            health += await self._together(
                *(self._details("/health") for _ in range(_HEALTH_CALLS - 1))
            )
        said += (probes.judge_instances(health), *probes.judge_health(health[0]))

    async def _talk(self, said: list[Finding]) -> None:
        order = self._order
        talk = Talk(self._reactor, order.target, order.trust, order.limit, self._web, order.idle)
        try:
            greeting = await talk.greet()
            said += (
                talk_verdicts.judge_websocket(greeting),
                talk_verdicts.judge_subprotocol(greeting),
                talk_verdicts.judge_ping(greeting),
            )
            live = None if greeting.fault is None else await self._get(order.target, "/live")
            said.append(judge_relay_clock(greeting, live))
            if not order.room or greeting.fault is not None:
                why = "--no-room" if not order.room else "there is no connection"
                said += (skipped("room", why), skipped("secret-in-use", why))
                return
            met = await talk.meet()
        finally:
            await talk.part()
        bad = any(fault.startswith("JOIN_TOKEN_SECRET:") for fault in self._deployment.faults)
        tokens = None if bad else self._deployment.settings.tokens
        now_ms = int(time.time() * 1000)
        signature = talk_verdicts.judge_signature(met, tokens, os.urandom, now_ms)
        said += (talk_verdicts.judge_room(met), signature)

    async def _tls(self, said: list[Finding]) -> None:
        order = self._order
        if not order.target.secure:
            said += (skipped(name, "the URL is not https or wss") for name in tls.NAMES)
            return
        try:
            shown = await tls.look(self._reactor, order.target, order.trust, order.limit)
        except Unreachable as fault:
            cure = "See what listens there, and whether it speaks TLS 1.2 or 1.3."
            said.append(fail("tls", f"no TLS: {fault}", cure, TLS))
            said += (skipped(name, "there is no TLS") for name in tls.NAMES[1:])
        else:
            said += tls.judge_tls(shown, order.target, datetime.datetime.now(datetime.UTC))

    async def _redis(self, said: list[Finding]) -> None:
        url = self._deployment.settings.redis.url
        if url is None:
            why = self._deployment.absent("REDIS_URL")
            if why.endswith("is not set here"):
                why += ": rooms are in one process, and Redis in nobody's way"
            said += (skipped(name, why) for name in redis_verdicts.NAMES)
            return
        visit = RedisVisit(self._reactor, parse_redis_url(url), self._order.limit)
        said += redis_verdicts.judge_redis(await visit.make())

    async def _load(self, said: list[Finding]) -> None:
        counts = await self._counts()
        said += load.judge_load(counts)
        limit = float(self._deployment.settings.admission.max_total_connections)
        series = counts if isinstance(counts, str) else counts.latest
        if not isinstance(series, str):
            limit = series.get("limit_max_total_connections", limit)
        said.append(files.judge_files(self._files(series), limit))

    async def _counts(self) -> Counts | str:
        """What /metrics says twice: what it counts is since the start, the difference is of now."""
        first = await self._details("/metrics", Accept="application/json")
        series = read_series(first)
        if isinstance(series, str) or isinstance(first, Unreachable):
            return str(series)
        await deferLater(self._reactor, self._order.watch)
        for _ in range(_METRICS_CALLS):
            again = await self._details("/metrics", Accept="application/json")
            if isinstance(again, Unreachable):
                return Counts(series, why=f"asked again: {again}")
            counts = between(first, again)
            if counts is not None:
                return counts
        return Counts(series, why="asked again, another process answered")

    def _files(self, series: Series | str) -> files.OpenFiles | str | None:
        if self._order.pid is not None:
            return files.of_process(self._order.pid)
        found = files.of_series(series)
        if found is None and self._order.target.loopback:
            pid = files.find_listener(self._order.target.port)
            return None if pid is None else files.of_process(pid)
        return found

    def _told(self) -> list[Finding]:
        """What is known without asking anybody."""
        deployment = self._deployment
        settings = deployment.settings
        return [
            judge_settings(deployment),
            judge_secret(deployment.values, deployment.unread),
            judge_old_secrets(deployment.values, settings.tokens.old_secrets),
            judge_env_file(deployment.env_file),
            tls.judge_files(settings.listen, deployment.absent("TLS_CERT_FILE")),
            judge_trust_setting(deployment, leads_out()),
            *judge_origins(deployment, self._order.target),
        ]

    async def _get(self, target: Target, path: str, **headers: str) -> Reply:
        try:
            return await self._web.get(target, path, **headers)
        except Unreachable as fault:
            return fault

    async def _details(self, path: str, **headers: str) -> Reply:
        """/health or /metrics: where it was said to be, else on the public port, else where the
        settings have it."""
        order = self._order
        if order.ops is not None:
            return await self._get(order.ops, path, **headers)
        found = await self._get(order.target, path, **headers)
        ops = self._deployment.ops_target()
        if isinstance(found, Answer) and found.status in (401, 403, 404) and ops is not None:
            return await self._get(ops, path, **headers)
        return found

    async def _together(self, *calls: Coroutine[Any, Any, Reply]) -> list[Reply]:
        done: Any = await DeferredList([Deferred.fromCoroutine(call) for call in calls])
        return [reply for _success, reply in done]
