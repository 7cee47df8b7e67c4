"""Whether the secret that signs join tokens is worth its name. Nothing here shows a part of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from twisted_relay.core.settings_values import SECRET_LEAST, is_placeholder
from twisted_relay.doctor.findings import INTERNET, SECRET, Finding, fail, ok, skipped, warn

_MAKE = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
_NEW = (
    f"Make one with {_MAKE}, put it into the .env file of every instance, and change it in two"
    " steps, so that nobody is turned away."
)
_AT_ONCE = (
    f"Make one with {_MAKE}, and put it into the .env file of all instances at once, with no old"
    " one: the old one may be known to others. Clients then have to be invited anew."
)
_WEAK_BITS = 80
_SEPARATORS = frozenset(" -_.,:/")


def guessable(secret: str) -> str | None:
    """Say why a secret could be guessed; None if it looks like chance."""
    if is_placeholder(secret.encode("utf-8", "surrogateescape")):
        return "it looks like a placeholder that was published in an example"
    if secret in (secret + secret)[1:-1]:
        return "it is one pattern repeated"
    near = sum(abs(ord(one) - ord(two)) <= 1 for one, two in pairwise(secret))
    if near > len(secret) / 2:
        return "its characters follow each other in order"
    letters = [character for character in secret if character.islower()]
    separators = sum(character in _SEPARATORS for character in secret)
    vowels = sum(letter in "aeiou" for letter in letters)
    # Of letters drawn by chance a fifth are vowels; of words, more than a third.
    if len(letters) + separators >= 0.88 * len(secret) and vowels > 0.27 * len(letters):
        return "it reads like words, not like chance"
    counts = Counter(secret)
    bits = -sum(n * math.log2(n / len(secret)) for n in counts.values())
    if bits < _WEAK_BITS:
        return f"it has few different characters ({len(counts)} of {len(secret)})"
    return None


def judge_secret(values: Mapping[str, str], unread: bool = False) -> Finding:
    """JOIN_TOKEN_SECRET, as the settings have it, unless they could not be read."""
    name = "secret"
    secret = values.get("JOIN_TOKEN_SECRET", "").strip()
    if not secret:
        if unread:
            return skipped(name, "the file of settings cannot be read")
        if values.get("REDIS_URL", "").strip():
            seen = "JOIN_TOKEN_SECRET is not set, and instances on one Redis need the same"
            return fail(name, seen, _NEW, INTERNET)
        return skipped(
            name, "JOIN_TOKEN_SECRET is not set here: each process makes a random one of its own"
        )
    if len(secret) < SECRET_LEAST:
        seen = f"JOIN_TOKEN_SECRET has fewer than {SECRET_LEAST} characters"
        return fail(name, seen, _NEW, INTERNET)
    if is_placeholder(secret.encode("utf-8", "surrogateescape")):
        seen = f"JOIN_TOKEN_SECRET: {guessable(secret)}: whoever knows it makes join tokens"
        return fail(name, seen, _AT_ONCE, SECRET)
    why = guessable(secret)
    if why is not None:
        return warn(name, f"JOIN_TOKEN_SECRET: {why}", _NEW, INTERNET)
    return ok(name, "JOIN_TOKEN_SECRET is long, and looks like chance")


def judge_old_secrets(values: Mapping[str, str], old: tuple[bytes, ...]) -> Finding:
    """JOIN_TOKEN_SECRETS_OLD: what still opens rooms."""
    name = "old-secrets"
    if not old:
        return ok(name, "there are no old secrets")
    secret = values.get("JOIN_TOKEN_SECRET", "").strip().encode("utf-8", "surrogateescape")
    if secret in old:
        return warn(
            name,
            "JOIN_TOKEN_SECRET is among JOIN_TOKEN_SECRETS_OLD: the change has not taken place",
            "JOIN_TOKEN_SECRET is to be the new one, JOIN_TOKEN_SECRETS_OLD the one before.",
            SECRET,
        )
    if any(guessable(one.decode("utf-8", "surrogateescape")) for one in old):
        return warn(
            name,
            "JOIN_TOKEN_SECRETS_OLD holds one that could be guessed; its tokens still serve",
            "Leave it out as soon as NEXT_TOKEN_TTL_MS is over; at once if it is known to others.",
            SECRET,
        )
    return ok(name, f"{len(old)} old, which still verify: leave them out after NEXT_TOKEN_TTL_MS")


def judge_env_file(path: Path | None) -> Finding:
    """Who may read the file with the secrets in it."""
    name = "env-file"
    if path is None:
        return skipped(name, "no .env file was read")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return skipped(name, error.strerror or type(error).__name__)
    cure = f"chmod 600 {path}, and let it belong to the user that the relay runs as."
    if mode & 0o002:
        return fail(name, f"{path} can be written by everybody on this machine", cure, INTERNET)
    if mode & 0o004:
        return warn(name, f"{path} can be read by everybody on this machine", cure, INTERNET)
    return ok(name, f"{path} is not open to others (mode {mode & 0o777:o})")
