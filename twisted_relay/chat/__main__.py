"""``python -m twisted_relay.chat`` is ``relay-chat``."""

from .main import main

if __name__ == "__main__":
    main()
