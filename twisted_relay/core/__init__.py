"""Ring 0: the pure rules of the chat. Nothing in here knows Twisted, sockets or time of day."""
