"""The targets lie here and not in a package, so that the fuzzer can start them by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
