"""Which pages of other origins may read the answers to HTTP calls (the Fetch standard, "CORS").

`/ws` is no matter of this: browsers let any page connect, so its origins are checked at admission.
"""

from __future__ import annotations

import attrs

#: What a preflight grants. None of these headers does anything here but X-Request-Id.
_HEADERS = "Accept, Content-Type, X-Request-Id, X-Requested-With"
_EXPOSED = "X-Request-Id, Retry-After"
_MAX_AGE = "600"


@attrs.frozen
class Cors:
    """The rule.

    Attributes:
        origins: those that are allowed; None for all, and then without credentials.
        credentials: whether a page of an allowed origin may send cookies and the like.
    """

    origins: tuple[str, ...] | None
    credentials: bool = False

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers of any answer to a request of ``origin``.

        An origin comes back only if it is on the list. ``Vary`` is there in any case, or a cache
        might give one page's answer to another.
        """
        found = {"Vary": "Origin"}
        if self.origins is None:
            found["Access-Control-Allow-Origin"] = "*"
        elif origin is not None and origin in self.origins:
            found["Access-Control-Allow-Origin"] = origin
            # "null" is what every sandboxed page calls itself, whoever made it.
            if self.credentials and origin != "null":
                found["Access-Control-Allow-Credentials"] = "true"
        else:
            return found
        found["Access-Control-Expose-Headers"] = _EXPOSED
        return found

    def preflight(self, origin: str, methods: str) -> dict[str, str]:
        """Return what is added to those where a browser asks before it calls."""
        found = {"Vary": "Access-Control-Request-Method, Access-Control-Request-Headers"}
        if self.origins is None or origin in self.origins:
            found["Access-Control-Allow-Methods"] = methods
            found["Access-Control-Allow-Headers"] = _HEADERS
            found["Access-Control-Max-Age"] = _MAX_AGE
        return found
