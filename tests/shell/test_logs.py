"""The log is JSON with a string level, and holds nothing private at any level."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.service import Application, MultiService
from twisted.logger import (
    ILogObserver,
    Logger,
    LogLevel,
)

from twisted_relay.shell import log_lines, logs

ROOT = Path(__file__).parents[2]
SECRET = "s3cret-room-id"
OTHERS = ("autobahn.twisted.websocket", "twisted.web.http", "txredisapi", "stdout", "stderr")


class Log:
    """An observer on two string streams, and loggers that speak to it."""

    def __init__(self, level: str = "info", form: str = "json", address: str = "truncated") -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        choices = SimpleNamespace(level=level, format=form, client_address=address)
        self.observer = logs.make_observer(choices, self.out, self.err)

    def at(self, namespace: str = "twisted_relay.shell.service") -> Logger:
        return Logger(namespace=namespace, observer=self.observer)

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = self.out.getvalue() + self.err.getvalue()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def text(self) -> str:
        return self.out.getvalue() + self.err.getvalue()


def test_trap_32_levels_are_strings_and_errors_go_to_stderr() -> None:
    log = Log("debug")
    ours = log.at()
    ours.debug("one")
    ours.info("two")
    ours.warn("three")
    ours.error("four")
    ours.critical("five")
    assert [line["level"] for line in log.lines] == ["debug", "info", "warn", "error", "fatal"]
    assert len(log.out.getvalue().splitlines()) == 3
    assert len(log.err.getvalue().splitlines()) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.lines[0]["time"])


@pytest.mark.parametrize("level", logs.LEVELS)
def test_log_level_is_the_least_that_is_written(level: str) -> None:
    log = Log(level)
    ours = log.at()
    ours.debug("trace", trace=True)
    for name in ("debug", "info", "warn", "error", "critical"):
        ours.emit(LogLevel.levelWithName(name), name)
    assert [line["level"] for line in log.lines] == list(logs.LEVELS[logs.LEVELS.index(level) :])


def test_only_named_fields_are_written_or_filled_in() -> None:
    log = Log("trace")
    log.at().warn(
        "rate limit {reason} {room_id}", event="x", reason="r", room_id=SECRET, token=SECRET
    )
    (line,) = log.lines
    assert line["msg"] == "rate limit r -"
    assert line["reason"] == "r"
    assert SECRET not in log.text


def test_each_field_that_the_relay_names_is_one_that_is_written() -> None:
    unwritten = [
        f"{file.name}:{call.lineno}: {keyword.arg}"
        for file in (ROOT / "twisted_relay").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("debug", "info", "warn", "error", "critical", "failure")
        and ast.unparse(call.func.value).endswith("log")
        for keyword in call.keywords
        if keyword.arg not in (*logs.FIELDS, "failure")
    ]
    assert unwritten == []


def test_values_are_bounded_and_stay_on_their_line() -> None:
    log = Log()
    log.at().info("a {reason}", reason="b\n" * 1000, count=object(), unknown=["A_VARIABLE", b"raw"])
    (line,) = log.lines
    assert len(line["reason"]) == 300
    assert line["count"] == "object"
    assert line["unknown"] == ["A_VARIABLE", "bytes"]
    assert len(line["msg"]) == 300


@pytest.mark.parametrize(
    ("mode", "shown"), [("none", None), ("truncated", "192.0.2.0/24"), ("full", "192.0.2.77")]
)
def test_a_client_address_is_shown_as_the_operator_chose(mode: str, shown: str | None) -> None:
    log = Log(address=mode)
    log.at().warn("too many connections from {client_address}", client_address="192.0.2.77")
    assert log.lines[0].get("client_address") == shown
    assert log.lines[0]["msg"] == f"too many connections from {shown or '-'}"


def test_an_address_cut_before_stays_cut() -> None:
    log = Log()
    log.at().warn("too many connections", client_address="192.0.2.0/24")
    assert log.lines[0]["client_address"] == "192.0.2.0/24"


@pytest.mark.parametrize("namespace", OTHERS)
@pytest.mark.parametrize("level", logs.LEVELS)
def test_trap_25_the_text_of_other_code_is_never_written(namespace: str, level: str) -> None:
    log = Log(level, "pretty" if level == "trace" else "json")
    other = log.at(namespace)
    for each in ("debug", "info", "warn", "error", "critical"):
        other.emit(
            LogLevel.levelWithName(each),
            "GET /rooms/{room}/token {log_io}",
            room=SECRET,
            log_io=SECRET,
        )
    assert SECRET not in log.text
    if level == "trace":
        assert len(log.text.splitlines()) == 5
    elif level != "fatal":
        noisy = namespace.startswith("autobahn") or level == "error"
        assert next(x["level"] for x in log.lines) == ("error" if noisy else "warn")


def test_a_failure_is_type_and_stack_without_message_or_locals() -> None:
    log = Log("trace")

    def inner(room: str) -> None:
        raise KeyError(room)

    for namespace in ("twisted_relay.shell.http", "twisted.internet.defer"):
        try:
            inner(SECRET)
        except KeyError:
            log.at(namespace).failure("it broke: {log_failure}")
    assert SECRET not in log.text
    for line in log.lines:
        assert line["level"] == "error"  # the process goes on
        assert line["type"] == "KeyError"
        assert re.search(r"test_logs:.*inner:\d+$", line["stack"][-1])
    assert len(log.err.getvalue().splitlines()) == 2


def test_a_failure_without_its_traceback_is_described_too() -> None:
    from twisted.python.failure import Failure

    try:
        raise ValueError(SECRET)
    except ValueError:
        failure = Failure()
    failure.cleanFailure()
    found = log_lines.describe_failure(failure)
    assert found["type"] == "ValueError"
    assert SECRET not in repr(found)


def test_a_printed_traceback_keeps_its_bones_only() -> None:
    log = Log()
    stderr = log.at("stderr")
    for line in (
        "Traceback (most recent call last):",
        '  File "/x/y.py", line 3, in start',
        f"    open('{SECRET}')",
        f"twisted.internet.error.CannotListenError: {SECRET}",
        f"ValueError: {SECRET}",
        "Somebody: said",
    ):
        stderr.error("{log_io}", log_io=line)
    assert [line["msg"] for line in log.lines] == [
        "Traceback (most recent call last):",
        'File "/x/y.py", line 3, in start',
        "output of other code, withheld",
        "twisted.internet.error.CannotListenError",
        "ValueError",
        "output of other code, withheld",
    ]


def test_a_python_warning_says_where_and_not_what() -> None:
    log = Log()
    log.at("twisted.logger._global").warn(
        "{warning}",
        warning=SECRET,
        category="builtins.DeprecationWarning",
        filename="a.py",
        lineno=3,
    )
    (line,) = log.lines
    assert (line["type"], line["stack"]) == ("builtins.DeprecationWarning", ["a.py:3"])
    assert SECRET not in log.text


def test_pretty_is_one_line_for_people() -> None:
    log = Log(form="pretty")
    log.at().warn("rate limit\x1b[31m", reason="x\ny")
    assert re.fullmatch(r'\S+Z WARN  rate limit\\u001b\[31m  reason="x\\ny"\n', log.text)


def test_a_broken_stream_does_not_raise() -> None:
    log = Log()
    log.out.close()
    log.at().info("nobody hears this")


def test_twistd_takes_the_observer_from_its_application() -> None:
    observer = Log().observer
    application = Application("relay")
    assert logs.observe_application(application, observer)
    assert application.getComponent(ILogObserver) is observer
    assert not logs.observe_application(MultiService(), observer)


def test_twist_takes_the_observer_from_its_options() -> None:
    observer = Log().observer
    options: dict[str, Any] = {"fileLogObserverFactory": None, "logLevel": LogLevel.info}
    assert logs.observe_twist(options, observer)
    assert options["fileLogObserverFactory"](io.StringIO()) is observer
    assert options["logLevel"] is LogLevel.debug
    assert not logs.observe_twist({"nodaemon": True}, observer)


def test_twists_log_file_is_honoured() -> None:
    file = io.StringIO()
    assert logs.streams_for({"logFile": sys.__stdout__}) == (None, None)
    assert logs.streams_for({"logFile": file}) == (file, file)


def test_twistds_logfile_is_honoured(tmp_path: Any) -> None:
    path = str(tmp_path / "relay.log")
    assert logs.streams_for(None) == (None, None)
    assert logs.streams_for({"nodaemon": True, "logfile": None}) == (None, None)
    assert logs.streams_for({"nodaemon": True, "logfile": "-"}) == (None, None)
    out, err = logs.streams_for({"nodaemon": False, "logfile": path})
    assert out is err
    assert out is not None
    choices = SimpleNamespace(level="info", format="json", client_address="none")
    Logger(namespace="twisted_relay", observer=logs.make_observer(choices, out, err)).error("hi")
    out.close()
    with open(path) as written:
        assert json.loads(written.read())["msg"] == "hi"


def test_throttle_lets_one_line_a_second_through_and_counts_the_rest() -> None:
    throttle = logs.Throttle()
    assert [throttle.admit("ip_limit", 5.0) for _ in range(4)] == [0, None, None, None]
    assert throttle.admit("origin", 5.0) == 0
    assert throttle.admit("ip_limit", 6.0) == 3
    assert throttle.admit("ip_limit", 9.0) == 0


def test_a_flood_of_rejections_is_a_line_a_second() -> None:
    log = Log()

    def reject(seconds: float, reason: str) -> None:
        log.observer(
            {
                "log_namespace": "twisted_relay.shell.websocket",
                "log_level": LogLevel.warn,
                "log_time": seconds,
                "log_format": "too many connections",
                "event": "connection_rejected",
                "reason": reason,
                "client_address": "192.0.2.1",
            }
        )

    for n in range(100):
        reject(10 + n / 1000, "ip_limit")
    reject(10.5, "origin")
    reject(11, "ip_limit")
    assert [(x["reason"], x.get("suppressed")) for x in log.lines] == [
        ("ip_limit", None),
        ("origin", None),
        ("ip_limit", 99),
    ]


def test_lines_that_no_client_brings_about_are_all_written() -> None:
    log = Log()
    for _ in range(5):
        log.at().warn("a setting", event="settings", setting="PORT")
    assert len(log.lines) == 5


@pytest.mark.parametrize("program", [["twistd", "-n", "--pidfile="], ["twist"]])
def test_the_log_of_a_real_process_is_ours_from_the_first_line(
    program: list[str], tmp_path: Path
) -> None:
    tool = [str(Path(sys.executable).with_name(program[0])), *program[1:]]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [*tool, "relay", "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path,
        env={"PYTHONPATH": root, "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or "listening" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate(timeout=20)
        process.terminate()
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    levels = [json.loads(line)["level"] for line in [*lines, *out.splitlines()]]
    assert set(levels) == {"info"}
    assert err == ""
