"""What is behind the rooms: a store in this process alone, or Redis, which instances share."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from twisted_relay.core.keys import address_key, bus_keys
from twisted_relay.core.redis_url import parse_redis_url
from twisted_relay.core.settings import RoomLimits, Settings
from twisted_relay.engine.interfaces import IBus, IRoomStore, StoreStatus
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.redis_bus import RedisBus
from twisted_relay.shell.redis_link import RedisLink
from twisted_relay.shell.redis_store import RedisStore


@attrs.frozen
class Backing:
    """The room store, and the bus where there are other instances.

    Attributes:
        bus_keys: what seals the messages on the bus; empty without one.
    """

    store: IRoomStore
    bus: IBus | None = None
    bus_keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)

    def status(self) -> StoreStatus:
        """What a probe may say: rooms are to be had only with both, store and bus."""
        found = self.store.status()
        if self.bus is None or self.bus.up or not found.ready:
            return found
        message = "Redis answers, and the bus between instances is not connected"
        return attrs.evolve(found, ready=False, message=message)

    def change(self, rooms: RoomLimits, secret: bytes | None) -> None:
        """Go by other limits, and in Redis by another secret, from now on."""
        self.store.change(rooms)
        if isinstance(self.store, RedisStore) and secret is not None:
            self.store.rekey(address_key(secret))

    def start(self) -> None:
        """Connect, and stay connected; nobody waits for it. Whoever listens to the bus must be
        attached already."""
        self.store.start()
        if self.bus is not None:
            self.bus.start()

    async def stop(self) -> None:
        """End in the opposite order."""
        if self.bus is not None:
            await self.bus.stop()
        await self.store.stop()


def make_backing(
    settings: Settings, reactor: IReactorTime, now_ms: Callable[[], int], metrics: Metrics
) -> Backing:
    """Return what the settings ask for; with REDIS_URL, Redis.

    Raises:
        ValueError: for a REDIS_URL without a JOIN_TOKEN_SECRET: what all instances must share
            cannot be left to chance.
    """
    features, url, secret = settings.features, settings.redis.url, settings.tokens.secret
    if url is None:
        return Backing(
            MemoryStore(
                reactor,
                now_ms,
                settings.rooms,
                refuse_replays=features.token_replay_protection,
                limit_creations=features.ip_tracking,
            )
        )
    if secret is None:
        raise ValueError("REDIS_URL needs JOIN_TOKEN_SECRET")
    address = parse_redis_url(url)
    store = RedisStore(
        RedisLink(reactor, address, settings.redis, metrics),
        settings.rooms,
        address_key(secret),
        settings.tokens.next_token_ttl_ms,
        refuse_replays=features.token_replay_protection,
        limit_creations=features.ip_tracking,
    )
    bus = RedisBus(reactor, address, settings.redis, metrics)
    return Backing(store, bus, bus_keys(secret, settings.tokens.old_secrets))
