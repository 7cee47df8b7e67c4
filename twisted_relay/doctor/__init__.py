"""``relay-doctor``: walks the runbook's troubleshooting chapters on a live deployment.

It is a client of the relay and of Redis, and reads settings as the relay does. What it finds it
only reports: it changes nothing but for one room of its own, which it leaves at once.
"""
