"""The relay as a service: what was wired becomes a running server, and the server has an end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from twisted_relay import __version__
from twisted_relay.core.settings import Loaded, Settings, SettingsError
from twisted_relay.engine.lag import LoopLag
from twisted_relay.shell import logs, notify, page
from twisted_relay.shell.endpoints import (
    CannotListen,
    Doors,
    close_before_the_end,
    end_with_failure,
)
from twisted_relay.shell.reload import Reload, on_hangup, say
from twisted_relay.shell.tls import certificates_of_old
from twisted_relay.shell.transport import send_at_once
from twisted_relay.shell.wiring import Wiring


class RelayService(service.MultiService):
    """The relay as a Twisted service: listens when started, drains when stopped.

    Args:
        loaded: checked settings, and what is to be said of them once the log is there.
        reactor: where it runs; the global one by default, imported late so that ``--reactor``
            keeps its say.
        random_bytes: the source of ids and, without a configured one, of the token secret.
        observer: writes the log of the Application that the service is put into, if any.
        read: reads and checks the settings again; without it SIGHUP is left alone.

    Attributes:
        relay, backing, store, metrics, site: the parts, for whoever embeds the service.
        wiring: all of them.
        tls: the certificate in use, which `ServerTls.reload` takes anew; None without TLS.

    Raises:
        SettingsError: for a certificate or an endpoint that cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        loaded: Loaded,
        reactor: IReactorTime | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        observer: logs.Observer | None = None,
        read: Callable[[], Loaded] | None = None,
    ) -> None:
        super().__init__()
        self._observer = observer
        if reactor is None:
            from twisted.internet import reactor as installed

            reactor = installed
        self._reactor = reactor
        self._loaded = loaded
        self.settings: Settings = loaded.settings
        self.wiring = wiring = Wiring(loaded.settings, reactor, random_bytes)
        self.relay, self.metrics, self.tls = wiring.relay, wiring.metrics, wiring.tls
        self.backing, self.store = wiring.backing, wiring.backing.store
        self.site: Site = wiring.sites.public
        self._lag = LoopLag(reactor, self.metrics.loop_lag.observe)
        self._reload = (
            None if read is None else Reload(loaded, read, self._take_up, lambda: self.tls)
        )
        self._no_hangup: Callable[[], None] = lambda: None
        self._doors = Doors(wiring.doors, self._opened)
        self._listens: bool | None = None
        self._starting = True

    @property
    def ports(self) -> tuple[IListeningPort, ...]:
        """The listening ports, once started."""
        return tuple(self._doors.ports)

    @property
    def port(self) -> IListeningPort | None:
        """The first of them."""
        return next(iter(self._doors.ports), None)

    def setServiceParent(self, parent: service.IServiceCollection) -> None:
        # Under twistd the parent is the Application, which takes its log from here before the
        # log begins.
        if self._observer is not None:
            logs.observe_application(parent, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        if self._reload is not None:
            self._no_hangup = on_hangup(self._reactor, self._reload)
        for notice in self._loaded.notices:
            say(notice)
        if self.settings.tokens.secret is None:
            self._log.info(
                "JOIN_TOKEN_SECRET is not set: a random one serves for the life of this process",
                event="random_token_secret",
            )
        if (misfit := self.wiring.misfit) is not None:
            self._log.warn("the fast path is off: {fault}", event="plain_path", fault=misfit)
        self.backing.start()
        self.relay.start()
        self._lag.start()
        if self.tls is not None:
            self.tls.start()
        elif found := certificates_of_old(self.settings.listen):
            self._log.warn(
                "{endpoint} is there, and switches no TLS on: that is for TLS_CERT_FILE and"
                " TLS_KEY_FILE",
                event="no_tls",
                setting="TLS_CERT_FILE",
                endpoint=found,
            )
        opening = Deferred.fromCoroutine(self._doors.open())
        opening.addCallbacks(self._listening, self._cannot_listen)
        if self._listens is False:
            # Most endpoints listen, or fail, at once. Raised here and not in the Deferred, which
            # would keep it to itself.
            close_before_the_end(self._reactor)
            raise SystemExit(1)
        self._starting = False

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        notify.stopping()
        self._log.info("draining", event="draining", connections=len(self.relay.clients))
        if self.settings.features.graceful_shutdown:
            await self.relay.drain(self.settings.runtime.graceful_shutdown_timeout_ms / 1000)
        await self._doors.close()
        if self.tls is not None:
            self.tls.stop()
        self.relay.stop()
        self.wiring.factory.stop()
        self._lag.stop()
        await self.backing.stop()
        self.wiring.turns.stop()
        self._no_hangup()
        await maybeDeferred(super().stopService)
        self._log.info("stopped", event="stopped")

    def _take_up(self, settings: Settings) -> None:
        self.settings = settings
        self.wiring.change(settings)
        if self._observer is not None:
            self._observer.change(settings.log)

    def _opened(self, port: IListeningPort) -> None:
        if self.wiring.fast_path:
            send_at_once(port)

    def _listening(self, _: None) -> None:
        self._listens = True
        if self.wiring.fast_path:
            self.wiring.turns.start()
        for door, port in zip(self._doors.doors, self._doors.ports, strict=True):
            number = getattr(port.getHost(), "port", None)
            self._log.info(
                "listening on {endpoint}" if number is None else "listening on port {port}",
                event="listening",
                endpoint=door.text,
                port=number,
                version=__version__,
                store=self.backing.status().kind,
            )
        if self.settings.http.web_client:
            page.announce(self.settings.listen, self._doors.ports[0])
        notify.ready()

    def _cannot_listen(self, failure: Failure) -> None:
        fault: Any = failure.value
        if self._doors.closed:
            return
        if isinstance(fault, CannotListen):
            self._log.critical(
                "{setting}: cannot listen on {endpoint}: {fault};"
                " choose a free port of this machine",
                event="cannot_listen",
                setting=fault.door.setting,
                endpoint=fault.door.text,
                fault=fault.fault,
            )
        else:
            self._log.failure("listening failed", failure, event="cannot_listen")
        self._listens = False
        if not self._starting:
            end_with_failure(self._reactor)


def make_service(
    loaded: Loaded,
    outer: MutableMapping[str, Any] | None = None,
    read: Callable[[], Loaded] | None = None,
) -> service.IService:
    """What ``twistd relay`` and ``twist relay`` run, from checked settings.

    ``outer`` holds the options of twistd or twist themselves: where the log goes. ``read`` reads
    the settings again.
    """
    observer = logs.make_observer(loaded.settings.log, *logs.streams_for(outer))
    if outer is not None:
        logs.observe_twist(outer, observer)
    try:
        return RelayService(loaded, observer=observer, read=read)
    except SettingsError as error:
        # The options were checked; a file has changed since.
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
