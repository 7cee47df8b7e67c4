"""Whether anybody beyond the networks that this machine, or container, is on can reach it."""

from __future__ import annotations

from pathlib import Path

_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200  # of linux/route.h; IPv6 has the same
_WIDEST = 8
"""Bits of the widest network that somebody may have for himself: 10.0.0.0/8."""


def leads_out(root: Path = Path("/")) -> bool | None:
    """Whether a route leads out of these networks (proc(5)); None where it cannot be known.

    None does on a network of containers that is ``internal``. Who is elsewhere gets no answer then.
    """
    folder = root / "proc/net"
    try:
        rows = [line.split() for line in (folder / "route").read_text().splitlines()[1:]]
        flags = [(row[0], int(row[3], 16), int(row[7], 16).bit_count()) for row in rows if row]
        six = folder / "ipv6_route"
        more = six.read_text().splitlines() if six.exists() else []
        flags += [(row[9], int(row[8], 16), int(row[1], 16)) for row in map(str.split, more)]
    except (OSError, ValueError, IndexError):
        return None
    return any(
        name != "lo" and flag & _UP and not flag & _REJECT and (flag & _GATEWAY or bits < _WIDEST)
        for name, flag, bits in flags
    )
