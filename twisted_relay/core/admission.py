"""Who may connect at all: counts of connections, decided before any work is spent on one."""

from __future__ import annotations

import collections
import enum
import math
from collections.abc import Sequence
from typing import Protocol

import attrs

from twisted_relay.core.limits import AddressBuckets

#: Seconds after which a client may try again when nothing better is known.
_RETRY_SECONDS = 5


class Limits(Protocol):
    """`settings.AdmissionLimits` has them."""

    @property
    def max_conns_per_ip(self) -> int: ...
    @property
    def max_connects_per_ip_per_min(self) -> int: ...
    @property
    def max_total_connections(self) -> int: ...
    @property
    def allowed_origins(self) -> Sequence[str] | None: ...


class Refused(enum.Enum):
    """Why a connection is refused: HTTP status, what the client is told, the metric's reason."""

    ORIGIN = (403, "Pages of this origin may not connect here.", "origin")
    DRAINING = (503, "This instance is shutting down.", "draining")
    CAPACITY = (503, "The server is at capacity.", "global_limit")
    ADDRESS = (429, "There are too many connections from this address.", "ip_limit")
    RATE = (429, "There are too many new connections from this address.", "connect_rate")

    def __init__(self, status: int, message: str, reason: str) -> None:
        self.status = status
        self.message = message
        self.reason = reason


@attrs.frozen
class Refusal:
    """A refused connection, and the seconds after which another attempt makes sense."""

    why: Refused
    retry_after: int


class Admission:
    """Counts this process's connections.

    Args:
        limits: the numbers in force.
        per_address: False counts only the total (FEATURE_IP_TRACKING).
    """

    def __init__(self, limits: Limits, per_address: bool = True) -> None:
        self._limits = limits
        self._per_address = per_address
        self._total = 0
        self._by_address: collections.Counter[str] = collections.Counter()
        self._connects = AddressBuckets(limits.max_connects_per_ip_per_min)

    @property
    def total(self) -> int:
        """Connections admitted and not yet released."""
        return self._total

    def change(self, limits: Limits) -> None:
        """Go by other limits from now on; who is connected stays so."""
        self._limits = limits
        self._connects.change(limits.max_connects_per_ip_per_min)

    def admit(
        self, address_key: str, origin: str | None, draining: bool, now: float
    ) -> Refusal | None:
        """Count a connection in, or say why not. What is admitted must be released once."""
        limits = self._limits
        allowed = limits.allowed_origins
        if origin is not None and allowed is not None and origin not in allowed:
            return Refusal(Refused.ORIGIN, 0)
        if draining:
            return Refusal(Refused.DRAINING, 1)
        if self._total >= limits.max_total_connections:
            return Refusal(Refused.CAPACITY, _RETRY_SECONDS)
        if self._per_address:
            if self._by_address.get(address_key, 0) >= limits.max_conns_per_ip:
                return Refusal(Refused.ADDRESS, _RETRY_SECONDS)
            wait = self._connects.spend(address_key, now)
            if wait is not None:
                return Refusal(Refused.RATE, math.ceil(wait))
            self._by_address[address_key] += 1
        self._total += 1
        return None

    def release(self, address_key: str) -> None:
        """A connection that was admitted is gone."""
        self._total -= 1
        if self._per_address:
            self._by_address[address_key] -= 1
            if not self._by_address[address_key]:
                del self._by_address[address_key]
