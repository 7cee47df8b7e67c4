"""What a running process takes up of settings that were read again, and what it does not."""

from __future__ import annotations

from typing import Any

import attrs

from twisted_relay.core.settings import Settings, check_relations
from twisted_relay.core.settings_table import SETTINGS


@attrs.frozen
class Reloaded:
    """Settings that were read again, beside those in force.

    Attributes:
        settings: what is to be in force from now on, as a whole.
        changed: the variables that differ and take effect.
        waiting: the variables that differ and need a restart.
    """

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def reloaded(in_force: Settings, wanted: Settings) -> Reloaded:
    """Take from `wanted` what can change at run time, and the rest from what is in force.

    Raises:
        SettingsError: if the two do not go together, though each does with its own kind.
    """
    changed: list[str] = []
    waiting: list[str] = []
    values: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    for row in SETTINGS:
        if not row.place:
            continue
        slice_name, _, field = row.place.partition(".")
        old, new = (getattr(getattr(each, slice_name), field) for each in (in_force, wanted))
        if old != new:
            (changed if row.reload else waiting).append(row.name)
        values[row.name] = new if row.reload else old
        fields.setdefault(slice_name, {})[field] = values[row.name]
    check_relations(values)
    slices = {name: attrs.evolve(getattr(in_force, name), **new) for name, new in fields.items()}
    return Reloaded(attrs.evolve(in_force, **slices), tuple(changed), tuple(waiting))
