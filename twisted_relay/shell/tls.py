"""TLS of the relay's own: the certificate is renewed while connections go on.

A connection keeps what it began with; a renewed certificate is for those that come after.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from twisted_relay.core.listening import ListenSettings
from twisted_relay.core.settings import SettingsError
from twisted_relay.shell.certificates import CERT, Identity, TlsFiles, day, unusable

WATCH_SECONDS = 1.0
"""How often the files are looked at; what has changed is read when it stays so for one look."""
TICKET_KEY_SECONDS = 24 * 3600.0
"""After this time tickets are encrypted with a new key, and earlier ones are void."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Gives connections the certificate that is in the files.

    Args:
        files: where it is.
        clock: looks at the files once in a while.
        now: the date, for certificates that have expired.

    Raises:
        SettingsError: when the files cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        files: TlsFiles,
        clock: IReactorTime,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._files = files
        self._clock = clock
        self._now = now
        self._seen = self._tried = files.state()
        self._identity = Identity.read(files)
        self._context = self._identity.context()
        self._made = clock.seconds()
        self._look: IDelayedCall | None = None

    @property
    def expires(self) -> datetime.datetime:
        """When the certificate in use expires."""
        return self._identity.expires

    def expires_at(self) -> float:
        """The same as Unix time."""
        return self.expires.timestamp()

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A connection for a client that has just come; called by Twisted."""
        return SSL.Connection(self._context, None)

    def start(self) -> None:
        """Say what there is, and watch the files from now on."""
        say = self._log.info if self.expires > self._now() else self._log.warn
        self._say_of_certificate(say, "TLS: the certificate")
        self._look = self._clock.callLater(WATCH_SECONDS, self._watch)

    def stop(self) -> None:
        """Watch no more. Connections go on."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def prepare(self) -> Callable[[], None]:
        """Read the files again, whether or not they have changed.

        Returns what takes them up, and cannot fail.

        Raises:
            SettingsError: when they cannot be used; what is in use stays in use.
        """
        self._seen = self._tried = self._files.state()
        identity = Identity.read(self._files)
        if identity.expires <= self._now() < self.expires:
            raise unusable(CERT, f"it expired on {day(identity.expires)}")
        context = identity.context()
        return lambda: self._take_up(identity, context)

    def reload(self) -> bool:
        """Take up what is in the files now; False, and a line of the log, if it cannot be used."""
        try:
            take_up = self.prepare()
        except SettingsError as fault:
            self._log.error(
                "{setting}: {fault}; the certificate that was in use stays in use",
                event="certificate_refused",
                setting=fault.name,
                fault=fault.fault,
            )
            return False
        take_up()
        return True

    def _take_up(self, identity: Identity, context: SSL.Context) -> None:
        if identity.names == self._identity.names:
            # Whoever has a ticket may come back with it.
            return
        self._identity, self._context = identity, context
        self._made = self._clock.seconds()
        self._say_of_certificate(self._log.info, "TLS: for new connections the certificate")

    def _watch(self) -> None:
        # First, so that no failure below can end it.
        self._look = self._clock.callLater(WATCH_SECONDS, self._watch)
        before, self._seen = self._seen, self._files.state()
        # Certificate and key are two files: one look later both are written, as a rule.
        if self._seen == before != self._tried:
            self.reload()
        elif self._clock.seconds() - self._made > TICKET_KEY_SECONDS:
            self._context = self._identity.context()
            self._made = self._clock.seconds()

    def _say_of_certificate(self, say: Any, what: str) -> None:
        serial = format(self._identity.chain[0].serial_number, "x")
        say(
            what + " {serial} is in use, valid until {expires}",
            event="certificate",
            serial=serial,
            expires=day(self.expires),
        )


def server_tls(listen: ListenSettings, clock: IReactorTime) -> ServerTls | None:
    """TLS by these settings; None if they ask for none.

    Raises:
        SettingsError: when a file cannot be used.
    """
    files = TlsFiles.of(listen)
    return None if files is None else ServerTls(files, clock)


def certificates_of_old(listen: ListenSettings) -> str | None:
    """What in the working directory switched TLS on for the service that this relay replaces; None
    if nothing is there, or an endpoint has TLS anyway."""
    found = Path("server/certs")
    has_tls = listen.tls_cert_file or any("ssl:" in text for text in listen.relay_endpoints)
    return str(found) if not has_tls and any(found.glob("*.pem")) else None
