"""How far another machine's clock is from this one's."""

from __future__ import annotations

import email.utils

from twisted_relay.doctor.findings import INSTANCES, Finding, fail, ok, skipped, warn
from twisted_relay.doctor.network import Answer
from twisted_relay.doctor.talk import Greeting

WARN_SECONDS, FAIL_SECONDS = 2.0, 5.0
"""Spent tokens are remembered for 5 s beyond their expiry: a clock that is further off reopens
or closes doors."""

NAME = "clock"


def judge_clock(name: str, whose: str, ahead: float, error: float) -> Finding:
    """``ahead`` is by how many seconds it is ahead of ours; it may be wrong by ``error``."""
    direction = "ahead of" if ahead > 0 else "behind"
    seen = f"{whose} is {abs(ahead):.1f} s {direction} this machine's"
    certain = abs(ahead) - error
    cure = "Let a time service run on both machines (timedatectl set-ntp true, chrony)."
    if certain > FAIL_SECONDS:
        return fail(
            name, f"{seen}: tokens are taken for expired, or for valid too long", cure, INSTANCES
        )
    if certain > WARN_SECONDS:
        return warn(name, seen, cure, INSTANCES)
    return ok(name, f"{whose} agrees with this machine's (to {abs(ahead) + error:.1f} s)")


def judge_relay_clock(greeting: Greeting, live: object) -> Finding:
    """By HELLO, else by what /live says, else by the Date of that answer."""
    if greeting.server_ms and greeting.came:
        return _between(greeting.server_ms / 1000, greeting.sent, greeting.came)
    if not isinstance(live, Answer):
        return skipped(NAME, "there is no answer to tell by")
    said = live.fields.get("timestamp")
    if isinstance(said, int) and not isinstance(said, bool):
        return _between(said / 1000, live.sent, live.came)
    try:
        date = email.utils.parsedate_to_datetime(live.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return skipped(NAME, "the answers do not tell the time")
    # It has whole seconds.
    return _between(date + 0.5, live.sent - 0.5, live.came + 0.5)


def _between(said: float, sent: float, came: float) -> Finding:
    ahead = said - (sent + came) / 2
    return judge_clock(NAME, "the relay's clock", ahead, max(0.0, came - sent) / 2)
