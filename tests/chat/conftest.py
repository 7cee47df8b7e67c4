"""relay-chat's tests: its processes, a relay of their own, and the library's relay in miniature."""

from tests.chat.processes import run, sit_down  # noqa: F401
from tests.client.conftest import fake_relay, until_fixture  # noqa: F401
from tests.system.conftest import _common, relay, start_relay  # noqa: F401
