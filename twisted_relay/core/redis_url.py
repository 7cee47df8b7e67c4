"""The address of a Redis server, out of one URL.

The forms are those of redis-py, so that a URL that works elsewhere works here::

    redis://[[user]:password@]host[:port][/database]      rediss:// for TLS
    unix://[[user]:password@]/path/of/the/socket[?db=database]

``?db=``, ``?username=`` and ``?password=`` go before what stands in their place elsewhere. User,
password and path are percent-decoded: ``@ : / ? # %`` in them are written ``%40`` and so on.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

DEFAULT_PORT = 6379
_OPTIONS = ("db", "username", "password")


@attrs.frozen
class RedisAddress:
    """Where a Redis server is, and as whom to enter.

    Attributes:
        scheme: ``redis`` is TCP, ``rediss`` TLS over TCP, ``unix`` a socket of this machine.
        host: a name or an address; empty for ``unix``.
        port: 0 for ``unix``.
        path: of the socket; empty but for ``unix``.
        username: None is the server's default user.
        password: None sends none.
        database: the number of the database.
    """

    scheme: Literal["redis", "rediss", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    database: int = 0


def parse_redis_url(text: str) -> RedisAddress:
    """Return the address that a URL names.

    Raises ValueError, whose one line never holds a part of the URL: that may be a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(
            "the value is not a URL (a password's : / ? # @ are to be %-coded)"
        ) from None
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("the URL holds a space or an unprintable character")
    if parts.fragment or text.endswith("#"):
        raise ValueError("the URL holds a #, which is to be written %23")
    options = _options(parts)
    user = options.get("username", _decoded(parts.username)) or None
    password = options.get("password", _decoded(parts.password))
    if user and password is None:
        raise ValueError("the URL names a user, but no password")
    if not user and not password:
        password = None
    if parts.scheme == "unix":
        path = _socket_path(parts)
        database = _database(options.get("db", ""))
        return RedisAddress("unix", "", 0, path, user, password, database)
    schemes: dict[str, Literal["redis", "rediss"]] = {"redis": "redis", "rediss": "rediss"}
    scheme = schemes.get(parts.scheme)
    if scheme is None:
        raise ValueError("the URL has another scheme than redis, rediss or unix")
    if not parts.hostname or port == 0:
        raise ValueError("the URL names no server")
    database = _database(options.get("db", parts.path.removeprefix("/")))
    port = DEFAULT_PORT if port is None else port
    return RedisAddress(scheme, parts.hostname, port, "", user, password, database)


def _options(parts: SplitResult) -> dict[str, str]:
    if not parts.query:
        return {}
    try:
        pairs = parse_qsl(parts.query, True, True, errors="strict")
    except ValueError:
        raise ValueError("what follows the ? in the URL cannot be read") from None
    options = dict(pairs)
    if len(options) != len(pairs) or any(name not in _OPTIONS for name in options):
        raise ValueError("what follows the ? in the URL is not db, username or password, each once")
    return options


def _decoded(text: str | None) -> str | None:
    try:
        return None if text is None else unquote(text, errors="strict")
    except ValueError:
        raise ValueError("a %-coded part of the URL is not UTF-8") from None


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("the URL's database is not a number")
    return int(text)


def _socket_path(parts: SplitResult) -> str:
    path = _decoded(parts.path) or ""
    # unix://run/redis.sock would take "run" for a host, and the rest for a path from the root.
    if parts.hostname not in (None, "localhost") or not path.startswith("/") or len(path) < 2:
        raise ValueError(
            "the URL names no socket by its whole path, as unix:///run/redis.sock does"
        )
    return path
