"""The Redis store passes what every store must, on each server there is; and what is its alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from real_redis import RealRedis, server_binaries
from redis_contract import hold_to_contract


@pytest.mark.parametrize("kind", server_binaries())
async def test_the_contract_of_room_stores(
    start_redis: Callable[..., RealRedis], kind: str
) -> None:
    await hold_to_contract(start_redis(kind))


async def test_the_contract_on_a_server_that_may_evict(
    start_redis: Callable[..., RealRedis],
) -> None:
    full = {"maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}
    await hold_to_contract(start_redis(config=full))
