"""What a dialogue, or the lack of one, says about the deployment."""

from __future__ import annotations

from collections.abc import Callable

from twisted_relay.core.errors import RelayError
from twisted_relay.core.settings import TokenSettings
from twisted_relay.core.tokens import TokenSigner
from twisted_relay.doctor.findings import (
    DROPS,
    INSTANCES,
    PROXY,
    REDIS,
    REJECTIONS,
    SECRET,
    SLOW,
    Finding,
    fail,
    milliseconds,
    ok,
    skipped,
    warn,
)
from twisted_relay.doctor.line import SUBPROTOCOL, Closed, ErrorFrame, Refusal
from twisted_relay.doctor.network import Answer, Unreachable
from twisted_relay.doctor.probes import GATEWAY_CURES, unreached
from twisted_relay.doctor.talk import Greeting, RoomTalk
from twisted_relay.doctor.target import shown_url

SLOW_SECONDS = 0.25
"""A round trip that people notice in a chat."""

UPGRADE_CURE = (
    "Let the proxy speak HTTP/1.1 to the relay and pass the upgrade on. nginx: proxy_http_version"
    ' 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade". Apache:'
    " ProxyPass with upgrade=websocket. Whole files are in etc/haproxy and etc/nginx."
)
_LIMITS_CURE = (
    "Wait a minute and try again. If clients are refused so: behind a proxy, check TRUST_PROXY"
    " (else all of them count as one address); then raise MAX_CONNS_PER_IP and"
    " MAX_CONNECTS_PER_IP_PER_MIN together."
)


def judge_websocket(greeting: Greeting) -> Finding:
    """Whether a client gets from the public address to HELLO."""
    fault = greeting.fault
    if fault is None:
        return ok("websocket", f"a handshake, then HELLO from {greeting.server or 'the relay'}")
    if isinstance(fault, Refusal):
        return refused(fault)
    if isinstance(fault, Unreachable):
        return unreached("websocket", "/ws", fault)
    seen = f"after the handshake there was no HELLO, but {fault}"
    cure = "Look whether it is this relay that answers on /ws, and into its log at this time."
    return fail("websocket", seen, cure, DROPS)


def refused(refusal: Refusal) -> Finding:
    """Why a handshake was not done, as far as the answer tells."""
    name, status = "websocket", refusal.status
    seen = f"/ws: {answered(refusal)}"
    if status is None:
        return fail(name, f"/ws: {refused_without_words()}", UPGRADE_CURE, PROXY)
    if status in (400, 426) or refusal.code == "ERR_UPGRADE_REQUIRED":
        return fail(name, f"{seen}: the upgrade does not get to the relay", UPGRADE_CURE, PROXY)
    if status == 429:
        return warn(name, seen, _LIMITS_CURE, REJECTIONS)
    if status == 503 and "shutting down" in refusal.message:
        cure = "Wait for its end, and let the load balancer go by /ready, which says 503 meanwhile."
        return warn(name, f"{seen}: it drains", cure, DROPS)
    if status == 503 and refusal.code:
        cure = "Start another instance, or raise MAX_TOTAL_CONNECTIONS if memory and files allow."
        return fail(name, f"{seen}: at capacity", cure, REJECTIONS)
    if status in GATEWAY_CURES:
        return fail(name, seen, GATEWAY_CURES[status], DROPS)
    if 300 <= status < 400:
        cure = "WebSocket clients follow no redirects: give them the URL that it leads to."
        return fail(name, seen, cure, PROXY)
    if status in (401, 403, 407):
        cure = "The relay refuses only origins, and none was sent: look at the proxy's rules."
        return fail(name, seen, cure, PROXY)
    cure = "Something else answers there. Let the proxy pass /ws on to the relay, path unchanged."
    return fail(name, seen, cure, PROXY)


def refused_without_words() -> str:
    """What is seen where no HTTP answer came."""
    return "the connection was closed during the handshake, or what answers speaks no HTTP"


def answered(refusal: Refusal) -> str:
    """An answer to a handshake, in short."""
    parts = [f"HTTP {refusal.status}"]
    if refusal.code:
        parts.append(refusal.code[:40])
    if refusal.html:
        parts.append("with an HTML page, which no relay sends")
    if refusal.headers.get("server"):
        parts.append(f"by {refusal.headers['server'][:40]}")
    if 300 <= (refusal.status or 0) < 400 and refusal.headers.get("location"):
        parts.append(f"to {shown_url(refusal.headers['location'])}")
    return ", ".join(parts)


def judge_subprotocol(greeting: Greeting) -> Finding:
    """Whether the proxy lets the choice of a subprotocol through."""
    name = "subprotocol"
    if greeting.fault is not None:
        return skipped(name, "there is no connection")
    if greeting.subprotocol == SUBPROTOCOL:
        return ok(name, f"{SUBPROTOCOL} was offered and chosen")
    cure = "Let the proxy pass Sec-WebSocket-Protocol on, in both directions."
    return warn(name, f"{SUBPROTOCOL} was offered, and nothing chosen", cure, PROXY)


def judge_ping(greeting: Greeting) -> Finding:
    """How long a frame takes to the relay and back."""
    name = "ping"
    if greeting.fault is not None:
        return skipped(name, "there is no connection")
    if greeting.ping_seconds is None:
        cure = "See whether the proxy holds frames back (buffering), and whether the relay is busy."
        return fail(name, "PING was not answered", cure, SLOW)
    seen = f"PING to PONG in {milliseconds(greeting.ping_seconds)}"
    if greeting.ping_seconds > SLOW_SECONDS:
        cure = "Compare with the same check on the relay's own machine: network, proxy or relay."
        return warn(name, seen, cure, SLOW)
    return ok(name, seen)


def judge_room(talk: RoomTalk) -> Finding:
    """Whether two clients get to talk."""
    name, fault = "room", talk.fault
    if fault is None:
        seen = f"a room of two, and a message in {milliseconds(talk.seconds)}"
        if talk.seconds > SLOW_SECONDS:
            cure = "Compare with the checks ping, redis-latency and event-loop."
            return warn(name, seen, cure, SLOW)
        return ok(name, seen)
    said = f"HTTP {fault.status}" if isinstance(fault, Answer) else describe(fault)
    seen = f"{_STEPS[talk.step]}: {said}"
    if talk.step == "create" and isinstance(fault, ErrorFrame) and fault.code == "ERR_RATE_LIMITED":
        cure = (
            "The limit MAX_ROOM_CREATES_PER_IP_PER_MIN was met: run again in a minute, or with"
            " --no-room. Behind a proxy, check TRUST_PROXY."
        )
        return warn(name, seen, cure, REJECTIONS)
    if isinstance(fault, ErrorFrame) and fault.code == "ERR_UNAVAILABLE":
        cure = "The relay does not reach its Redis: see the checks redis and ready."
        return fail(name, seen, cure, REDIS)
    if isinstance(fault, Answer) and fault.status == 429:
        return warn(name, seen, _LIMITS_CURE, REJECTIONS)
    if isinstance(fault, Refusal) and fault.status == 429:
        return warn(name, seen, _LIMITS_CURE, REJECTIONS)
    if talk.step in ("token", "join"):
        return _not_one(name, seen, fault)
    if talk.step == "idle":
        cure = (
            "Something on the way ends silent connections: let every proxy wait longer than"
            " WS_PING_INTERVAL_MS for the next byte (HAProxy: timeout tunnel, nginx:"
            " proxy_read_timeout)."
        )
        return fail(name, seen, cure, DROPS)
    cure = (
        "Look into the relay's log at this time; and whether the proxy ends or holds connections."
    )
    return fail(name, seen, cure, DROPS)


_STEPS = {
    "create": "no room could be made",
    "token": "there was no token for the room over HTTP",
    "connect": "a second connection failed",
    "join": "the second member did not get in",
    "message": "a message did not arrive",
    "leave": "leaving was not confirmed",
    "idle": "the connection ended while it was silent",
}


def describe(fault: Exception) -> str:
    """A fault in a few words."""
    if isinstance(fault, Refusal):
        return refused_without_words() if fault.status is None else answered(fault)
    if isinstance(fault, Closed):
        return f"closed with {fault}"
    return str(fault)


def _not_one(name: str, seen: str, fault: object) -> Finding:
    """A room that was made, and is not known where the second member came to."""
    if isinstance(fault, ErrorFrame) and fault.code == "ERR_TOKEN_MAC":
        seen += ": instances behind this address sign with different secrets"
        cure = "Give every instance the same JOIN_TOKEN_SECRET, and reload or restart it."
        return fail(name, seen, cure, INSTANCES)
    unknown = (isinstance(fault, ErrorFrame) and fault.code == "ERR_NO_ROOM") or (
        isinstance(fault, Answer) and fault.fields.get("code") == "ERR_NO_ROOM"
    )
    if unknown:
        seen += ": instances behind this address do not know each other's rooms"
        cure = (
            "Give every instance the same REDIS_URL; without Redis there can be one instance only."
        )
        return fail(name, seen, cure, INSTANCES)
    if isinstance(fault, Answer) and fault.status in GATEWAY_CURES:
        return fail(name, seen, GATEWAY_CURES[fault.status], DROPS)
    if isinstance(fault, Answer):
        cure = "Let the proxy pass /rooms on to the relay as well: clients ask there for tokens."
        return fail(name, seen, cure, PROXY)
    return fail(name, seen, "Look into the relay's log at this time.", DROPS)


def judge_signature(
    talk: RoomTalk, tokens: TokenSettings | None, random_bytes: Callable[[int], bytes], now_ms: int
) -> Finding:
    """Whether the relay that answered signs with the secret of these settings."""
    name = "secret-in-use"
    if tokens is None or tokens.secret is None:
        return skipped(name, "no usable JOIN_TOKEN_SECRET is set here")
    if not talk.token:
        return skipped(name, "there was no token to look at")
    try:
        TokenSigner(tokens.secret, (), random_bytes).verify(talk.token, talk.room_id, now_ms)
    except RelayError as error:
        if error.code.value != "ERR_TOKEN_MAC":
            return ok(name, "the relay signs with the JOIN_TOKEN_SECRET of these settings")
    else:
        return ok(name, "the relay signs with the JOIN_TOKEN_SECRET of these settings")
    cure = (
        "If these are the settings of that relay, it has not taken them up: reload or restart it."
        " If they are another's, run this where its .env file is."
    )
    seen = "the relay signs with another secret than the JOIN_TOKEN_SECRET of these settings"
    return warn(name, seen, cure, SECRET)
