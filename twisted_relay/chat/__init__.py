"""relay-chat: an encrypted chat in a terminal, on the client library."""
