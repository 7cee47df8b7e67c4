"""The Lua scripts of the Redis store, each of which is one atomic step on one room.

They lie in ``lua/``. A script on a room begins with what all of them share, so that each knows
the room in the same way. The first line says what Redis may let it do (Redis 7, "Script flags").
"""

from __future__ import annotations

from importlib import resources

from twisted_relay.shell.redis_link import Script

_ROOM = ("room", "spent", "keep")


def _script(name: str, flags: str = "", *before: str) -> Script:
    folder = resources.files("twisted_relay.shell") / "lua"
    parts = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*before, name)]
    return Script("\n".join((f"#!lua flags={flags}", *parts)))


CREATE_BUCKET = _script("create_bucket")
CREATE = _script("create", "", *_ROOM)
JOIN = _script("join", "", *_ROOM)
REGISTER = _script("register", "", *_ROOM)
ROTATE_QR = _script("rotate_qr", "", *_ROOM)
EXISTS = _script("exists", "", *_ROOM)
# These need no more memory than there was: a full server must not make the dead of the living.
LEAVE = _script("leave", "allow-oom", *_ROOM)
RENEW = _script("renew", "allow-oom", *_ROOM)
