"""Ring 1: what carries the rules out with Deferreds and interfaces, still without sockets."""
