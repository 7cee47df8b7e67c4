"""The room store in Redis, which all instances share.

Each call is one Lua script on the keys of one room, which have one hash tag, so that a Redis
Cluster keeps them in one place. All times are Redis' own. Each key has a time to live at every
instant:

=========================  =========================================================================
``tr1:{H}``                hash: the room's facts, its leases with when they lapse, its seats
``tr1:{H}:spent``          sorted set: tokens spent, by expiry; outlives the room
``tr1:{H}:gen``            hash: generations of members who are away
``tr1:{a:A}``              the bucket of the rooms that an address may create
=========================  =========================================================================

H is the SHA-256 of the room id, A a keyed hash of the address: no value in Redis opens a room, or
says who is in it. The ids that are stored are random and open nothing.

A step that may give a seat has a deadline, for a request that this side has given up may still lie
somewhere and be carried out later: what comes after its deadline changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from zope.interface import implementer

from twisted_relay.core.settings import RoomLimits
from twisted_relay.engine.interfaces import (
    LEASE_SECONDS,
    Entry,
    IRoomStore,
    QrToken,
    Registered,
    Registration,
    Seat,
    Standing,
    StoreAbsent,
    StoreStatus,
    StoreUnavailable,
)
from twisted_relay.shell import redis_replies, redis_scripts
from twisted_relay.shell.redis_link import RedisLink, Script

_ValueT = TypeVar("_ValueT")
_Arg = str | bytes | int

#: Seconds by which this clock and Redis' may drift apart while a step is under way.
_DRIFT = 0.1


@implementer(IRoomStore)
class RedisStore:
    """`IRoomStore` in Redis.

    Args:
        link: asks Redis; started and stopped with this store.
        limits: capacity, times to live, creations for each address.
        address_key: what addresses are hashed with; the same on every instance.
        next_token_ttl_ms: how long a ``nextToken`` serves, and so a generation is remembered.
        refuse_replays: False lets a token serve again (FEATURE_TOKEN_REPLAY_PROTECTION).
        limit_creations: False counts no address's rooms (FEATURE_IP_TRACKING).
        lease_ms: milliseconds after which a lease that was not renewed has lapsed.
    """

    def __init__(
        self,
        link: RedisLink,
        limits: RoomLimits,
        address_key: bytes,
        next_token_ttl_ms: int,
        refuse_replays: bool = True,
        limit_creations: bool = True,
        lease_ms: int = round(LEASE_SECONDS * 1000),
    ) -> None:
        self._link = link
        self._limits = limits
        self._address_key = address_key
        self._next_token_ttl_ms = next_token_ttl_ms
        self._refuse_replays = refuse_replays
        self._limit_creations = limit_creations
        self._lease_ms = lease_ms

    @property
    def settles_after(self) -> float:
        return self._link.time_limit + _DRIFT

    def start(self) -> None:
        self._link.start()

    async def stop(self) -> None:
        await self._link.stop()

    def change(self, limits: RoomLimits) -> None:
        self._limits = limits

    def rekey(self, address_key: bytes) -> None:
        """Hash addresses with another key from now on; their counts begin anew."""
        self._address_key = address_key

    def status(self) -> StoreStatus:
        link = self._link
        return StoreStatus("redis", link.ready, link.latency_ms, link.message)

    async def create(
        self, room_id: str, address_key: str, entry: Entry | None, qr: QrToken | None
    ) -> Seat | None:
        if self._limit_creations:
            try:
                await self._ask(
                    redis_scripts.CREATE_BUCKET,
                    (self._bucket(address_key),),
                    (self._limits.max_creates_per_ip_per_min, self._deadline()),
                    redis_replies.read_creation,
                )
            except StoreUnavailable:
                # Whatever became of that, no room was asked for.
                raise StoreAbsent from None
        args = _qr_args(qr)
        if entry is None:
            return await self._step(
                redis_scripts.CREATE, room_id, args, redis_replies.read_empty, fenced=True
            )
        args += (entry.member_id, entry.hold, entry.lease, entry.label_number)
        return await self._step(
            redis_scripts.CREATE, room_id, args, redis_replies.read_seat, fenced=True
        )

    async def join(self, room_id: str, entry: Entry) -> Seat:
        args = (
            *(entry.member_id, entry.hold, entry.lease),
            "" if entry.generation is None else entry.generation,
            entry.label_number,
            entry.token_id or "",
            entry.token_expires_ms,
            int(self._refuse_replays),
        )
        return await self._step(
            redis_scripts.JOIN, room_id, args, redis_replies.read_seat, fenced=True
        )

    async def leave(
        self, room_id: str, member_id: str, hold: str, for_good: bool, token_id: str | None = None
    ) -> Standing | None:
        args = (member_id, hold, int(for_good), token_id or "")
        return await self._step(redis_scripts.LEAVE, room_id, args, redis_replies.read_standing)

    async def renew(self, room_id: str, lease: str) -> Standing | None:
        return await self._step(redis_scripts.RENEW, room_id, (lease,), redis_replies.read_renewed)

    async def register(self, room_id: str, registration: Registration) -> Registered:
        args: list[_Arg] = [registration.lease, registration.former]
        args += (registration.revision, registration.number, *_qr_args(registration.qr))
        args.append(len(registration.members))
        for entry in registration.members:
            args += (entry.member_id, entry.hold, entry.generation or 0, entry.label_number)
        for token_id, expires_ms in registration.spent:
            args += (expires_ms, token_id)
        return await self._step(
            redis_scripts.REGISTER, room_id, args, redis_replies.read_registered, fenced=True
        )

    async def exists(self, room_id: str) -> bool:
        return await self._step(redis_scripts.EXISTS, room_id, (), redis_replies.read_exists)

    async def rotate_qr(self, room_id: str, fresh: QrToken, stale_id: str) -> QrToken:
        args = (fresh.id, fresh.expires_ms, stale_id)
        return await self._step(redis_scripts.ROTATE_QR, room_id, args, redis_replies.read_qr)

    async def _step(
        self,
        script: Script,
        room_id: str,
        args: Sequence[_Arg],
        read: Callable[[object], _ValueT],
        fenced: bool = False,
    ) -> _ValueT:
        """One step on a room; a fenced one does nothing once nobody waits for it any more."""
        # One who did not hear from Redis for as long as a lease cannot tell who was away: the
        # others, or Redis, or this very process.
        reaps = self._link.unbroken_for * 1000 >= self._lease_ms
        common = (
            self._deadline() if reaps else 0,
            self._deadline() if fenced else 0,
            self._limits.key_ttl_ms,
            self._limits.empty_grace_ms,
            self._lease_ms,
            self._next_token_ttl_ms,
            self._limits.max_participants,
        )
        return await self._ask(script, _room_keys(room_id), (*common, *args), read)

    async def _ask(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[_Arg],
        read: Callable[[object], _ValueT],
    ) -> _ValueT:
        reply = await self._link.script(script, keys, args)
        try:
            return read(reply)
        except redis_replies.Senseless as fault:
            raise self._link.refused(fault.reason) from None

    def _deadline(self) -> int:
        """Redis' time, ms, until which what is asked now may be carried out."""
        return self._link.server_ms() + round(self._link.time_limit * 1000)

    def _bucket(self, address: str) -> str:
        hashed = hashlib.blake2b(
            address.encode("utf-8", "surrogatepass"), key=self._address_key, digest_size=16
        )
        return f"tr1:{{a:{hashed.hexdigest()}}}"


def _room_keys(room_id: str) -> tuple[str, str, str]:
    # What a client asks for may be any text, half a surrogate pair included.
    name = hashlib.sha256(room_id.encode("utf-8", "surrogatepass")).hexdigest()
    room = f"tr1:{{{name}}}"
    return room, f"{room}:spent", f"{room}:gen"


def _qr_args(qr: QrToken | None) -> tuple[_Arg, ...]:
    return ("", 0) if qr is None else (qr.id, qr.expires_ms)
