"""``python -m twisted_relay.doctor`` is ``relay-doctor``."""

from twisted_relay.doctor.command import main

if __name__ == "__main__":
    main()
