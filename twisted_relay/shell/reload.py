"""SIGHUP: the settings are read again, and a running process takes up what it can.

First everything is read and checked, which changes nothing; then everything is swapped within one
turn of the reactor, which cannot fail. So there is no reload that is half done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from twisted_relay.core.reloading import reloaded
from twisted_relay.core.settings import Loaded, Notice, Settings, SettingsError

_log = Logger()


class Certificates(Protocol):
    """What encrypts connections, and can be read again."""

    def prepare(self) -> Callable[[], None]:
        """Read and check the files. What is returned takes them up, and cannot fail.

        Raises:
            ValueError: one line that names the setting and the fault.
        """


class Reload:
    """Takes settings up in place.

    Args:
        loaded: what the process started with.
        read: reads and checks the settings again; raises SettingsError.
        take_up: puts settings in force as a whole; cannot fail.
        certificates: what is read again at each reload; None where there are none.
    """

    def __init__(
        self,
        loaded: Loaded,
        read: Callable[[], Loaded],
        take_up: Callable[[Settings], None],
        certificates: Callable[[], Certificates | None] = lambda: None,
    ) -> None:
        self._in_force = loaded.settings
        self._told = loaded.notices
        self._read = read
        self._take_up = take_up
        self._certificates = certificates

    def __call__(self) -> bool:
        """Reload; False if something is wrong, and everything stayed as it was."""
        try:
            wanted = self._read()
            found = reloaded(self._in_force, wanted.settings)
            certificates = self._certificates()
            swap = None if certificates is None else certificates.prepare()
        except (SettingsError, ValueError) as fault:
            _log.error(
                "not reloaded, everything stays as it was: {fault}",
                event="reload_refused",
                fault=str(fault),
                setting=getattr(fault, "name", None),
            )
            return False
        if swap is not None:
            swap()
        if found.settings != self._in_force:
            # Those of an operator who only renews certificates are left alone.
            self._take_up(found.settings)
        self._in_force = found.settings
        _log.info(
            "reloaded; taken up: {setting}",
            event="reloaded",
            setting=", ".join(found.changed) or "nothing new",
        )
        if found.waiting:
            _log.warn(
                "a restart is needed for: {setting}",
                event="restart_needed",
                setting=", ".join(found.waiting),
            )
        for notice in wanted.notices:
            if notice not in self._told:
                say(notice)
        self._told = wanted.notices
        return True


def say(notice: Notice) -> None:
    """Write what is to be said of a setting."""
    write = _log.warn if notice.level == "warn" else _log.info
    write(notice.text, event="settings", setting=notice.name)


def on_hangup(reactor: IReactorTime, call: Callable[[], object]) -> Callable[[], None]:
    """Call on each SIGHUP, in a turn of the reactor; returns what undoes it.

    Without this SIGHUP would end the process. Only the main thread has a say in signals; a relay
    that runs in another one hears of none.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    turns = IReactorFromThreads(reactor)
    before = signal.signal(signal.SIGHUP, lambda number, frame: turns.callFromThread(call))

    def undo() -> None:
        signal.signal(signal.SIGHUP, before)

    return undo
