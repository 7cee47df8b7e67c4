"""The wiring: settings become objects, and go on in those objects when they are read again."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Site

from twisted_relay import __version__
from twisted_relay.core.admission import Admission
from twisted_relay.core.keys import bus_keys
from twisted_relay.core.settings import Settings
from twisted_relay.core.tokens import TokenSigner
from twisted_relay.engine.assembly import make_relay
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.relay import Environment, Relay
from twisted_relay.shell import versions
from twisted_relay.shell.backing import make_backing
from twisted_relay.shell.endpoints import Door, doors_of, ops_door
from twisted_relay.shell.entrance import AdmissionResource
from twisted_relay.shell.http import make_sites
from twisted_relay.shell.probes import configured_limits
from twisted_relay.shell.tls import server_tls
from twisted_relay.shell.turns import Turns
from twisted_relay.shell.websocket import RelayFactory


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Wiring:
    """All that serves, made of settings; none of it does anything yet.

    Args:
        settings: checked settings.
        reactor: where it will run.
        random_bytes: the source of ids and, without a configured one, of the token secret.

    Attributes:
        misfit: why the fast path is off, though the settings ask for it; None if it is not.
        fast_path: whether it is on.
        doors: where each site is to listen.

    Raises:
        SettingsError: for a certificate or an endpoint that cannot be used.
    """

    def __init__(
        self, settings: Settings, reactor: IReactorTime, random_bytes: Callable[[int], bytes]
    ) -> None:
        session = settings.session
        self.metrics = Metrics(time.time())
        self.turns = Turns(reactor)
        self.backing = make_backing(settings, reactor, _now_ms, self.metrics)
        self._random_secret = random_bytes(32)
        self.signer = TokenSigner(
            settings.tokens.secret or self._random_secret, settings.tokens.old_secrets, random_bytes
        )
        self.relay = self._make_relay(settings, reactor, random_bytes)
        self.misfit = versions.misfit() if settings.runtime.fast_path else None
        self.fast_path = settings.runtime.fast_path and self.misfit is None
        self.admission = Admission(settings.admission, settings.features.ip_tracking)
        self.factory = RelayFactory(
            self.relay, self.admission, reactor, session.max_ws_msg_bytes, self.fast_path
        )
        self.sites = make_sites(
            settings,
            self.relay,
            self.backing.status,
            self.metrics,
            AdmissionResource(self.factory, self.metrics),
        )
        self.tls = server_tls(settings.listen, reactor)
        if self.tls is not None:
            self.metrics.read_expiry = self.tls.expires_at
        self.doors: list[tuple[Door, Site]] = [
            (door, self.sites.public) for door in doors_of(settings.listen, reactor, self.tls)
        ]
        if self.sites.ops is not None:
            self.doors.append((ops_door(settings.listen, reactor, self.tls), self.sites.ops))

    def _make_relay(
        self, settings: Settings, reactor: IReactorTime, random_bytes: Callable[[int], bytes]
    ) -> Relay:
        environment = Environment(
            reactor,
            _now_ms,
            random_bytes,
            self.metrics,
            f"twisted-relay/{__version__}",
            self.turns.soon,
        )
        return make_relay(
            environment,
            settings.session,
            settings.rooms,
            self.signer,
            settings.tokens.next_token_ttl_ms,
            self.backing.store,
            settings.features.slow_consumer_protection,
            self.backing.bus,
            self.backing.bus_keys,
        )

    def change(self, settings: Settings) -> None:
        """Put settings in force: what of them can change while the process runs. Cannot fail."""
        tokens, limits = settings.tokens, settings.session
        self.signer.change(tokens.secret or self._random_secret, tokens.old_secrets)
        self.backing.change(settings.rooms, tokens.secret)
        keys = bus_keys(tokens.secret, tokens.old_secrets) if tokens.secret else ()
        self.relay.change(limits, settings.rooms, keys)
        self.admission.change(settings.admission)
        self.sites.change(settings)
        self.factory.change(limits.max_ws_msg_bytes)
        self.metrics.limits = configured_limits(limits, settings.admission, settings.rooms)
