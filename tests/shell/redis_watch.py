"""What the tests of the link and of the bus share: settings, the log as written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.logger import globalLogPublisher

from twisted_relay.core.redis_url import parse_redis_url
from twisted_relay.core.settings import RedisSettings
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell import logs


def parts(
    kind: Callable[..., Any],
    url: str,
    command_timeout_ms: int = 2000,
    connect_timeout_ms: int = 5000,
) -> Any:
    """A link or bus to this URL; its counts are its attribute ``metrics``."""
    metrics = Metrics(0.0)
    settings = RedisSettings(None, command_timeout_ms, connect_timeout_ms)
    made = kind(reactor, parse_redis_url(url), settings, metrics)
    made.metrics = metrics
    return made


class Log:
    """The log as it would be written, every level of it."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        choices = SimpleNamespace(level="trace", format="json", client_address="full")
        self._observer = logs.make_observer(choices, self._stream, self._stream)
        globalLogPublisher.addObserver(self._observer)

    def close(self) -> None:
        globalLogPublisher.removeObserver(self._observer)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if line.get("event") == event]

    def assert_quiet(self, *private: str) -> None:
        """Nothing unexpected, and nothing private."""
        assert '"error"' not in self.text
        assert "raceback" not in self.text
        for word in private:
            assert word not in self.text
