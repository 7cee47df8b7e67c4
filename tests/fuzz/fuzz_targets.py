"""All targets, by name. Each takes bytes, and raises if something does not hold."""

from __future__ import annotations

import fuzz_pure
import fuzz_wired

TARGETS = {**fuzz_pure.TARGETS, **fuzz_wired.TARGETS}
