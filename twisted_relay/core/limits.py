"""Limits that refill smoothly, and counts for each address. Time is handed in, in seconds."""

from __future__ import annotations

import collections


class Bucket:
    """A token bucket: holds `burst`, refills `per_second`, never in steps.

    A full bucket allows the burst at once; over any longer time the average rate holds, so there
    is no boundary at which twice the burst passes.
    """

    __slots__ = ("_burst", "_level", "_per_second", "_then")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._level = burst
        self._then = now

    def spend(self, amount: float, now: float) -> bool:
        """Take `amount` if it is there; say whether it was. A refusal takes nothing."""
        level = self._level + (now - self._then) * self._per_second
        self._then = now
        if level > self._burst:
            level = self._burst
        if level < amount:
            self._level = level
            return False
        self._level = level - amount
        return True

    def change(self, burst: float, per_second: float) -> None:
        """Hold and refill by other numbers from now on; what is in it stays, if it fits."""
        self._burst = burst
        self._per_second = per_second
        self._level = min(self._level, burst)

    def wait_seconds(self, amount: float) -> float:
        """Seconds after the last `spend` until `amount` will be there."""
        return max(0.0, (amount - self._level) / self._per_second)

    def full_at(self) -> float:
        """When the bucket is full again, and so may be forgotten."""
        return self._then + (self._burst - self._level) / self._per_second


class AddressBuckets:
    """A bucket for each address, forgotten when full: an idle address costs nothing.

    Args:
        per_minute: how many an address may do at once, and in a minute.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: collections.OrderedDict[str, Bucket] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, address_key: str, now: float) -> float | None:
        """Count one; None if it is allowed, else the seconds to wait."""
        self._forget(now)
        bucket = self._buckets.get(address_key)
        if bucket is None:
            bucket = Bucket(self._per_minute, self._per_minute / 60, now)
            self._buckets[address_key] = bucket
        self._buckets.move_to_end(address_key)
        return None if bucket.spend(1, now) else bucket.wait_seconds(1)

    def change(self, per_minute: int) -> None:
        """Allow another number from now on, to those who have spent something as well."""
        self._per_minute = per_minute
        for bucket in self._buckets.values():
            bucket.change(per_minute, per_minute / 60)

    def _forget(self, now: float) -> None:
        # Two looked at for each one added keep the table from outgrowing the live addresses.
        for _ in range(2):
            key, bucket = next(iter(self._buckets.items()), (None, None))
            if key is None or bucket is None:
                return
            if bucket.full_at() <= now:
                del self._buckets[key]
            else:
                self._buckets.move_to_end(key)
