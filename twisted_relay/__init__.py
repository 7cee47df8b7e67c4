"""A relay-only WebSocket server for end-to-end encrypted, ephemeral group chat."""

__version__ = "1.0.0"
