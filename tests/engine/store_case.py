"""What the tests of a room store stand on. A subclass says how to make one and how time passes.

Only `IRoomStore` is used, and every call is awaited, so that a store with a server behind it can
be held to the same tests. Time passes by `pass_time`, which a store on a fake clock answers at
once and a store on a server may answer by waiting; the times to live used here are short.
"""

import itertools
from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest

from twisted_relay.core.errors import RelayError
from twisted_relay.engine.interfaces import Entry, IRoomStore, QrToken, Registration

#: Milliseconds; short enough to be waited for.
KEY_TTL, GRACE, CAPACITY, CREATES = 4_000, 1_000, 3, 5
#: Milliseconds: a lease that does not lapse during a test, and one that does.
LONG_LEASE, LEASE = 10_000, 1_500


class StoreCase(ABC):
    """Makes stores, rooms, entries and registrations, each with names of its own."""

    @abstractmethod
    async def make_store(self, limits, lease_ms):
        """A started store with these `RoomLimits` and this lease time, milliseconds. It may drop
        lapsed leases."""

    @abstractmethod
    async def pass_time(self, seconds):
        """Let time pass for the stores made."""

    @abstractmethod
    def now_ms(self):
        """Unix time in milliseconds, as the stores made see it."""

    @abstractmethod
    def let_reap(self, allowed):
        """From now on the stores made may, or may not, drop lapsed leases."""

    def limits(self, **over):
        return {
            "max_participants": CAPACITY,
            "key_ttl_ms": KEY_TTL,
            "empty_grace_ms": GRACE,
            "qr_rotation_ms": 2_000,
            "max_creates_per_ip_per_min": CREATES,
        } | over

    async def store(self, lease_ms=LONG_LEASE, **over):
        store = await self.make_store(SimpleNamespace(**self.limits(**over)), lease_ms)
        assert IRoomStore.providedBy(store)
        return store

    _names = itertools.count()

    def name(self, what="id"):
        return f"{what}-{next(self._names):06}"

    def qr(self, ttl_ms=60_000):
        return QrToken(self.name("qr"), self.now_ms() + ttl_ms)

    def entry(self, **over):
        """One who brings no token: a creator, or a member for a registration."""
        return Entry(
            **(
                {
                    "member_id": self.name("member"),
                    "hold": self.name("hold"),
                    "lease": self.name("lease"),
                }
                | over
            )
        )

    def newcomer(self, token_id=None, **over):
        return self.entry(
            **(
                {
                    "token_id": token_id or self.name("jti"),
                    "token_expires_ms": self.now_ms() + 60_000,
                }
                | over
            )
        )

    def returning(self, entry, generation, **over):
        """The same member by another connection."""
        return self.entry(**({"member_id": entry.member_id, "generation": generation} | over))

    async def room(self, store, address="", entry=None):
        """A new room: its id, its creator's entry, the seat, the QR token."""
        room_id, entry, qr = self.name("room"), entry or self.entry(), self.qr()
        seat = await store.create(room_id, address or self.name("address"), entry, qr)
        return room_id, entry, seat, qr

    async def leave(self, store, room_id, entry, for_good=False):
        return await store.leave(room_id, entry.member_id, entry.hold, for_good)

    def registration(self, former, *members, **over):
        """Of members whose stay was named `former`, or nothing that the store could know."""
        return Registration(
            **(
                {
                    "lease": self.name("lease"),
                    "former": former or self.name("lease"),
                    "members": members,
                    "revision": 0,
                }
                | over
            )
        )

    async def refusal(self, awaitable):
        with pytest.raises(RelayError) as caught:
            await awaitable
        return caught.value
