"""Lists ``relay`` for ``twistd`` and ``twist``, and ``reuseport`` among the kinds of endpoints.

Plugin files are executed at every ``twistd --help``, whichever server is meant: nothing is imported
here but what is small, and in no case the reactor (``--reactor`` would be lost).
"""

from twisted.application.service import ServiceMaker

from twisted_relay.reuseport import ReusePortParser

relay = ServiceMaker(
    "twisted-relay",
    "twisted_relay.tap",
    "Relay end-to-end encrypted group chat over WebSocket; keeps and reads nothing.",
    "relay",
)

reuseport = ReusePortParser()
