"""Lists ``relay`` for ``twistd`` and ``twist``.

Plugin files are executed at every ``twistd --help``, whichever server is meant: nothing is imported
here but Twisted's small ServiceMaker, and in no case the reactor (``--reactor`` would be lost).
"""

from twisted.application.service import ServiceMaker

relay = ServiceMaker(
    "twisted-relay",
    "twisted_relay.tap",
    "Relay end-to-end encrypted group chat over WebSocket; keeps and reads nothing.",
    "relay",
)
