"""``python -m twisted_relay.client`` is ``relay-chat``."""

from .chat import main

if __name__ == "__main__":
    main()
