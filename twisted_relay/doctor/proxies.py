"""Whether the relay believes those about clients' addresses whom it should, and nobody else.

Over plain HTTP the relay sends HSTS only where a peer that it trusts says ``X-Forwarded-Proto:
https``. So the header tells whether *we* are believed. Over TLS its absence tells that the proxy is
not; its presence tells little, since many a proxy adds it by itself.
"""

from __future__ import annotations

import ipaddress

import attrs

from twisted_relay.doctor.deployment import Deployment
from twisted_relay.doctor.findings import INTERNET, PROXY, Finding, fail, ok, skipped, warn
from twisted_relay.doctor.network import Answer, Unreachable
from twisted_relay.doctor.target import Target

SPOOF = {"X_Forwarded_Proto": "https"}
"""A claim that only a proxy may make. X-Forwarded-For is believed from the same peers; from others
the relay would warn of it in its log."""
_HSTS, _SECURITY = "strict-transport-security", "x-content-type-options"


@attrs.frozen
class Asked:
    """The same call without and with a claim about who asks."""

    plain: Answer | Unreachable
    spoofed: Answer | Unreachable


def judge_belief(asked: Asked, target: Target) -> Finding:
    """What the answers show."""
    name = "proxy-trust"
    plain, spoofed = asked.plain, asked.spoofed
    if isinstance(plain, Unreachable) or isinstance(spoofed, Unreachable):
        return skipped(name, "there is no answer to tell by")
    if _SECURITY not in plain.headers:
        return skipped(name, "the answers have no security headers to tell by")
    if target.secure:
        if _HSTS in plain.headers:
            return ok(
                name,
                "HSTS comes over TLS: from a relay that knows that this client came so, or from a"
                " proxy that adds it by itself, which cannot be told apart from here",
            )
        return warn(
            name,
            "over TLS the relay sends no HSTS: it does not know, or does not believe, what the"
            " proxy says of its clients, who then all count as one address",
            "Set TRUST_PROXY to the network that the proxy connects from, and let the proxy set"
            " X-Forwarded-For and X-Forwarded-Proto.",
            PROXY,
        )
    if _HSTS in plain.headers:
        return skipped(name, "HSTS is sent over plain HTTP by somebody else, and tells nothing")
    if _HSTS not in spoofed.headers:
        return ok(name, "a client's own X-Forwarded headers are not believed")
    if target.near:
        return ok(name, "X-Forwarded headers from this machine are believed, as from a proxy")
    return fail(
        name,
        "the relay believes X-Forwarded headers of ours: every client can choose its address, and"
        " no limit for addresses holds",
        "Set TRUST_PROXY to the proxy's own address and nothing more; let the proxy overwrite"
        " X-Forwarded-For and X-Forwarded-Proto; and let nobody else reach the relay's port.",
        PROXY,
    )


def judge_trust_setting(deployment: Deployment, leads_out: bool | None) -> Finding:
    """TRUST_PROXY, beside where the relay listens, and who can reach that (`routes.leads_out`)."""
    name = "trust-proxy"
    listen = deployment.settings.listen
    trust = listen.trust_proxy
    if not deployment.known:
        return skipped(name, "no settings are known here")
    if trust is False:
        return ok(name, "TRUST_PROXY=false: right where clients connect to the relay itself")
    cure = (
        "Name the proxy's network in TRUST_PROXY (10.0.0.5/32), or let HOST be an address that"
        " only the proxy reaches."
    )
    if isinstance(trust, tuple):
        wide = [text for text in trust if _is_wide(text)]
        if wide:
            seen = f"TRUST_PROXY holds {', '.join(wide)}: everybody there may name his address"
            return fail(name, seen, cure, PROXY)
        return ok(name, f"TRUST_PROXY={','.join(trust)[:100]}")
    if listen.relay_endpoints or not _is_public(listen.host):
        return ok(name, "TRUST_PROXY=true: loopback and private networks are believed")
    if leads_out is False:
        return ok(
            name,
            f"TRUST_PROXY=true with HOST={listen.host}: no route leads out of the networks here, so"
            " that only who is on them can claim anything; let that be nobody but the proxy",
        )
    seen = (
        f"TRUST_PROXY=true with HOST={listen.host}: whoever comes from a private network, and not"
        " only the proxy, may name his address"
    )
    return warn(name, seen, cure, INTERNET)


def _is_wide(text: str) -> bool:
    network = ipaddress.ip_network(text)
    return (
        network.num_addresses > 1
        and not network.is_private
        and network.prefixlen < (16 if network.version == 4 else 32)
    )


def _is_public(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return address.is_unspecified or address.is_global


def judge_origins(deployment: Deployment, target: Target) -> list[Finding]:
    """ALLOWED_ORIGINS and CORS: which pages may speak in the name of who visits them."""
    if not deployment.known:
        return [skipped(name, "no settings are known here") for name in ("origins", "cors")]
    settings = deployment.settings
    return [_origins(settings.admission.allowed_origins, target), _cors(deployment)]


def _origins(origins: tuple[str, ...] | None, target: Target) -> Finding:
    if origins is not None:
        return ok("origins", f"pages of {len(origins)} origins may connect")
    seen = "ALLOWED_ORIGINS=*: every page in the world may connect"
    if target.near:
        return ok("origins", f"{seen}; name your pages there before strangers can reach the relay")
    cure = "Name your pages in ALLOWED_ORIGINS: https://chat.example, separated by commas."
    return warn("origins", seen, cure, INTERNET)


def _cors(deployment: Deployment) -> Finding:
    http = deployment.settings.http
    if any(notice.name == "CORS_ALLOW_CREDENTIALS" for notice in deployment.notices):
        seen = "CORS_ALLOW_CREDENTIALS is taken as false, since CORS_ALLOWED_ORIGINS is *"
        cure = "Name your pages in CORS_ALLOWED_ORIGINS, or take CORS_ALLOW_CREDENTIALS out."
        return warn("cors", seen, cure, INTERNET)
    if not deployment.settings.features.cors:
        return ok("cors", "no page of another origin reads answers")
    if http.cors_allowed_origins is None:
        return ok("cors", "CORS_ALLOWED_ORIGINS=*, without credentials")
    credentials = "with" if http.cors_allow_credentials else "without"
    count = len(http.cors_allowed_origins)
    return ok("cors", f"pages of {count} origins read answers, {credentials} credentials")
