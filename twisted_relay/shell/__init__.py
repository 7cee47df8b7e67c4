"""Ring 2: the outside world: WebSocket, HTTP, logs, start and stop."""
