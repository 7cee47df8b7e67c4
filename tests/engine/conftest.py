"""Lets the tests of this ring share their fakes and the store contract."""

import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

pytest.register_assert_rewrite(
    "store_case",
    "store_comparison",
    "store_contract",
    "store_leases",
    "store_registration",
    "store_tokens",
)
