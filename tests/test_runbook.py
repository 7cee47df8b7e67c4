"""docs/runbook.md, DEPLOYMENT.md, docs/incident-response.md: each command runs, or is said not to.

A command that needs curl, jq, netstat or redis-cli is run by tests/ops/test_runbook.py, any other
here. What can be run by neither stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import PAGES, ROOT, TOOLS, Command, all_commands, chapter, pattern, queries
from tests.stages import TROUBLE, WELL, Stage, on
from twisted_relay.core.settings import load_settings
from twisted_relay.core.settings_table import SETTINGS
from twisted_relay.engine.metrics import (
    CHECKS,
    DISCONNECTIONS,
    REJECTIONS,
    RUNBOOK_COUNTERS,
    Metrics,
    make_registry,
)
from twisted_relay.shell.probes import configured_limits

RUNBOOK = (ROOT / PAGES[0]).read_text(encoding="utf-8")
ALERTS = (ROOT / "etc/prometheus/alerts.yml").read_text(encoding="utf-8")
CHAPTERS = [
    "High connection rejections",
    "Redis connection failures",
    "High memory",
    "Connection drops",
    "Slow performance",
]

DOCKER = "Docker is needed; tests/ops/test_runbook.py asks Compose whether it knows the command"
SYSTEMD = "a booted systemd is needed, as root; the units run in tests/ops/test_systemd.py"
PM2 = "tests/ops/test_pm2.py runs it, which is checked below"
ROOTS = "it writes to root's folders; tests/package installs the package elsewhere"
LINE = "`logs` of another supervisor; the one for files is what commands here are run with"
OTHER_PORT = "the port of an instance's own; tests/ops asks it under systemd and PM2"

#: Why a command is run by no test of the pages. Each is there, or a test fails.
REASONS: dict[str, tuple[str, ...]] = {
    DOCKER: (
        "docker compose exec --index 2 chat-server curl -s http://localhost:3001/health",
        "docker compose logs -f chat-server",
        "docker compose logs --tail=100 chat-server",
        "docker compose logs --no-log-prefix chat-server | jq 'select(.level == \"error\")'",
        "docker compose up -d",
        "docker compose ps",
        "docker compose stats --no-stream",
        "docker compose restart chat-server",
        "docker compose restart",
        "docker compose restart redis",
        "docker compose up -d --no-deps --force-recreate chat-server",
        "docker compose up -d --scale chat-server=3",
        "docker compose up -d --scale chat-server=$(nproc)",
        "docker compose up -d --scale chat-server=2",
        "docker compose stop chat-server",
        "RELAY_TAG=1.0.0 docker compose up -d",
        "docker compose exec redis redis-cli ping",
        "docker compose exec redis redis-cli INFO memory",
        "docker compose exec chat-server ping -c 3 redis",
        "docker compose up -d --no-deps --no-recreate --scale chat-server=6 chat-server",
        "old=$(docker compose ps -q chat-server)",
        "docker stop $old && docker rm $old",
        "docker compose exec chat-server relay-doctor",
        "docker compose exec redis",
        "docker compose down",
        "docker compose kill",
        "docker image ls twisted-relay",
        "RELAY_TAG=1.0.0 docker compose build chat-server",
        "docker compose run --rm --no-deps chat-server twistd relay --check",
        "RELAY_TAG=1.0.0 docker compose run --rm --no-deps chat-server twistd relay --check",
        "RELAY_TAG=1.0.0 docker compose up -d --scale chat-server=3",
    ),
    SYSTEMD: (
        "journalctl -f -o cat -u 'twisted-relay*'",
        "journalctl -n 100 -o cat -u 'twisted-relay*'",
        "journalctl -o cat -u 'twisted-relay*' | jq -R 'fromjson? | select(.level == \"error\")'",
        "systemctl start twisted-relay.socket twisted-relay@1 twisted-relay@2",
        "systemctl status 'twisted-relay*'",
        "systemctl show -p Id -p MemoryCurrent -p CPUUsageNSec 'twisted-relay@*'",
        "systemctl restart 'twisted-relay@*'",
        "systemctl restart 'twisted-relay@*' redis-server",
        "systemctl restart redis-server",
        "systemctl reload 'twisted-relay@*'",
        "systemctl enable --now twisted-relay@3",
        "systemctl disable --now twisted-relay@3",
        "systemctl stop twisted-relay.socket 'twisted-relay@*'",
        "systemctl restart twisted-relay@1",
        "systemctl restart twisted-relay@2",
        "systemctl kill -s KILL 'twisted-relay@*'",
        "systemctl disable twisted-relay.socket twisted-relay@1 twisted-relay@2",
        "systemd-sysusers",
        "systemctl daemon-reload",
        "systemctl enable --now twisted-relay.socket twisted-relay@1 twisted-relay@2",
        "systemctl enable --now twisted-relay",
    ),
    PM2: (
        "pm2 logs e2ee-chat-server",
        "pm2 logs e2ee-chat-server --lines 100",
        "pm2 logs e2ee-chat-server --err",
        "pm2 start etc/pm2/ecosystem.config.cjs",
        "pm2 show e2ee-chat-server",
        "pm2 list",
        "pm2 restart e2ee-chat-server",
        "pm2 restart all",
        "pm2 reload e2ee-chat-server",
        "pm2 reload e2ee-chat-server --update-env",
        "pm2 sendSignal SIGHUP e2ee-chat-server",
        "pm2 scale e2ee-chat-server 3",
        "pm2 scale e2ee-chat-server max",
        "pm2 scale e2ee-chat-server 2",
        "pm2 stop e2ee-chat-server",
        "pm2 delete e2ee-chat-server",
        "pm2 save",
    ),
    ROOTS: (
        "python3 -m venv /opt/relay-1.0.0",
        "/opt/relay-1.0.0/bin/pip install .",
        "/opt/relay-1.0.0/bin/twistd --help >/dev/null",
        "ln -sfn /opt/relay-1.0.0 /opt/relay",
        "install -m 644 etc/systemd/twisted-relay.sysusers.conf"
        " /usr/lib/sysusers.d/twisted-relay.conf",
        "install -d -m 755 /etc/relay",
        "install -m 640 -o root -g relay .env /etc/relay/relay.env",
        "install -m 644 etc/systemd/twisted-relay.socket etc/systemd/twisted-relay@.service"
        " /etc/systemd/system/",
        "install -m 600 .env /opt/relay-1.0.0/.env",
    ),
    LINE: (
        "logs() { docker compose logs --no-log-prefix --tail=10000 chat-server; }",
        "logs() { journalctl -o cat -n 10000 -u 'twisted-relay*'; }",
        "logs() { pm2 logs e2ee-chat-server --nostream --raw --lines 10000; }",
    ),
    OTHER_PORT: (
        "curl -s http://127.0.0.1:9102/health",
        "curl -s http://127.0.0.1:9101/health",
    ),
    "Redis' usual port may be anybody's here; the same with a URL is run": (
        "redis-cli ping",
        "redis-cli INFO memory",
    ),
    "its status is the machine's health; with --json it is run, and by tests/doctor": (
        "relay-doctor http://localhost:3001",
        "relay-doctor https://relay.example",
    ),
    "it goes on until it is stopped": ("redis-cli --latency",),
    "not every machine may ping": ("ping -c 3 localhost",),
    "tests/ops/test_prometheus.py runs it": ("promtool check rules etc/prometheus/alerts.yml",),
    "it talks until it is ended; tests/client runs it": ("relay-chat wss://relay.example/ws",),
    "spoken of; the command with its whole path is among root's": ("twistd --help",),
    "spoken of; the whole command is in the table": ("pm2 reload",),
}
NOT_RUN = {text: reason for reason, texts in REASONS.items() for text in texts}


def runnable(page: str) -> list[Command]:
    """The commands of a page that tests run, here or in tests/ops."""
    return [c for c in all_commands() if c.page == page and c.fenced and c.text not in NOT_RUN]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with on(WELL, tmp_path_factory.mktemp("well") / "relay") as made:
        yield made


# Every command.


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_one_after_another(stage: Stage, page: str) -> None:
    commands = [command for command in runnable(page) if not command.tools]
    assert len(commands) >= 3
    for command in commands:
        stage.paste(command)


@pytest.mark.parametrize("title", CHAPTERS)
def test_the_log_shows_the_trouble_of_its_chapter(tmp_path: Path, title: str) -> None:
    commands = [
        command
        for command in runnable(PAGES[0])
        if command.chapter == title and not command.tools and "text bad" in command.prints
    ]
    if commands:
        with on(TROUBLE[title], tmp_path / "relay") as stage:
            for command in commands:
                stage.paste(command, "text bad")


def test_each_command_is_run_or_has_its_reason() -> None:
    commands = all_commands()
    texts = {command.text for command in commands}
    assert set(NOT_RUN) - texts == set(), "these are on no page"
    run = [c.text for c in commands if c.fenced and c.text not in NOT_RUN]
    # A command in the midst of a text is told of again in a fence, perhaps with more to it.
    loose = {t for t in texts if t not in NOT_RUN and not any(r.startswith(t) for r in run)}
    assert loose == set(), "these are neither run nor listed"


def test_each_fence_is_of_a_known_kind() -> None:
    for page in PAGES:
        fences = re.findall(r"(?m)^```(.*)$", (ROOT / page).read_text(encoding="utf-8"))
        assert set(fences[::2]) <= {"sh", "text", "text bad", "promql"}
        assert set(fences[1::2]) == {""}


def test_what_a_bare_machine_may_lack_is_installed_for_the_other_tests() -> None:
    script = (ROOT / "tests/ops/install.sh").read_text(encoding="utf-8")
    assert set(TOOLS) <= set(re.findall(r"([\w-]+):[\w-]+", script))


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("redis_ready 1.0", "redis_ready 1.0", True),
        ("redis_ready 1.0", "redis_ready 0.0", False),
        ("redis_ready 0.0", "redis_ready 1.0", False),
        ("errors 0", "errors 10", False),
        ("memory 7.7e+07", "memory 812", True),
        ("503", "200", False),
        ('{"a":"pass",...}', '{"a":"pass","b":2}', True),
        ('{"a":"pass","b":2}', '{"a":"fail","b":2}', False),
        ("a\n...\nb 3", "a\nx\ny\nb 4", True),
        ("a\n...\nb 3", "a\nx\ny", False),
        ('reason="ip_limit"} 5.0', 'reason="ip_limit"} 3.0', True),
        ("MAX_MSGS_PER_10S=200", "MAX_MSGS_PER_60S=200", False),
    ],
)
def test_how_outputs_are_compared(expected: str, printed: str, same: bool) -> None:
    assert bool(pattern(expected).fullmatch(printed + "\n")) is same


# What supervisors are told.


def pm2_calls() -> set[str]:
    """The commands that tests/ops/test_pm2.py gives."""
    tree = ast.parse((ROOT / "tests/ops/test_pm2.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pm2", "self"):
            words = [ast.unparse(argument) for argument in node.args]
            known = {"NAME": "e2ee-chat-server", "str(self._file)": "etc/pm2/ecosystem.config.cjs"}
            words = [known.get(word, word.strip("'")) for word in words]
            # Without it PM2 follows the log for ever.
            found.add(" ".join(word for word in words if word != "--nostream"))
    return found


def test_the_real_pm2_is_given_each_command() -> None:
    texts = [c.text for c in all_commands()]
    given = [text for text in texts if text.startswith("pm2 ") and text != "pm2 reload"]
    (line,) = [t for t in texts if t.startswith("logs() { pm2 ")]
    given.append(line.removeprefix("logs() { ").removesuffix("; }").replace(" --nostream", ""))
    assert {text.removeprefix("pm2 ") for text in given} - pm2_calls() == set()


def test_units_are_those_of_etc() -> None:
    names = [path.name for path in (ROOT / "etc/systemd").iterdir()]
    units = {name.replace("@.", "@1.") for name in names}
    for command in all_commands():
        for name in re.findall(r"twisted-relay[@*.\w]*", command.text):
            if "systemctl" in command.text or "journalctl" in command.text:
                wanted = re.sub(r"@\d", "@1", name)
                wanted = wanted if "." in wanted or "*" in wanted else f"{wanted}.service"
                assert fnmatch.filter(units, wanted), command.text


def test_the_ports_of_each_instance_are_those_of_etc() -> None:
    """Where several instances share a port, and everything that says where else they answer."""
    unit = (ROOT / "etc/systemd/twisted-relay@.service").read_text(encoding="utf-8")
    ecosystem = (ROOT / "etc/pm2/ecosystem.config.cjs").read_text(encoding="utf-8")
    (template,) = re.findall(r"tcp:(\d+)%i:interface=127\.0\.0\.1", unit)
    (first,) = re.findall(r'RELAY_OWN_PORT \|\| "(\d+)"', ecosystem)
    for text in (RUNBOOK, (ROOT / "etc/prometheus/prometheus.yml").read_text(encoding="utf-8")):
        told = " ".join(text.replace("#", "").split())
        assert f"127.0.0.1:{template}1 and on (systemd), 127.0.0.1:{first} and on (PM2)" in told
    operators = " ".join((ROOT / "etc/README.md").read_text(encoding="utf-8").split())
    assert f"{template}1 and on with systemd, {first} and on with PM2" in operators
    second = {"systemd": f"{template}2", "PM2, where the first one is 0": str(int(first) + 1)}
    for row in rows(chapter("Endpoints")):
        if row[0] in second:
            assert f"http://127.0.0.1:{second[row[0]]}/health" in row[1]


# Names.


@functools.cache
def families() -> dict[str, str]:
    """Each metric that a relay shows, by the name in the runbook, with its kind."""
    metrics = Metrics(0.0)
    metrics.read_expiry = lambda: 0.0
    settings = load_settings({}).settings
    metrics.limits = configured_limits(settings.session, settings.admission, settings.rooms)
    metrics.build = dict.fromkeys(("version", "service_version", "deployment_env"), "")
    found = {}
    for family in make_registry(metrics).collect():
        plain = family.name in RUNBOOK_COUNTERS or family.type != "counter"
        kind = "counter" if family.name in RUNBOOK_COUNTERS else family.type
        name = family.name if plain else f"{family.name}_total"
        found[name] = kind
    return found


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {n - 1 for n, row in enumerate(cells) if set("".join(row)) <= set("-:")}
    return [row for n, row in enumerate(cells) if n not in heads and n - 1 not in heads]


def test_the_metrics_chapter_has_each_metric_and_no_other() -> None:
    told = {}
    for names, kind, *_ in rows(chapter("Metrics")):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind)
    known = families()
    assert set(told) == set(known)
    for name, kind in told.items():
        assert kind in ("", known[name]), name
    labels = chapter("Metrics")
    assert re.search(", ".join(f"`{reason}`" for reason in REJECTIONS), labels)


def series_in(text: str) -> set[str]:
    """The metrics that a text names, by their names in the runbook."""
    known = families()
    found = set()
    for word in re.findall(r"[a-z][a-z0-9_]+", text):
        plain = re.sub(r"_(bucket|count|sum)$", "", word)
        for name in (word, plain, word.removesuffix("_total")):
            if name in known:
                found.add(name)
                break
    return found


def test_queries_ask_for_what_there_is() -> None:
    assert len(queries()) >= 8
    for query in queries():
        for name in re.findall(r"\b([a-z_]+)\{", query):
            assert series_in(name), name


def test_commands_ask_for_what_there_is() -> None:
    """What prints nothing when all is well would print nothing for a wrong name as well."""
    for command in all_commands():
        paths = re.findall(r"localhost:3001(/\w*)", command.text)
        assert set(paths) <= {"/health", "/ready", "/live", "/metrics", "/ws"}, command.text
        for wanted in re.findall(r"/metrics \| grep (?:-E )?'\^([^']*)'", command.text):
            before, _, rest = re.split(r"[\\{ ]", wanted)[0].partition("(")
            within, _, after = rest.partition(")")
            for part in within.split("|"):
                assert series_in(before + part + after), command.text
        for name in re.findall(r"logs \| grep (\w+)$", command.text):
            assert name in events(), command.text


def events() -> set[str]:
    """What lines of the log have as their ``event``."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "twisted_relay").rglob("*.py")]
    found = {name for text in sources for name in re.findall(r'event="(\w+)"', text)}
    return found | {f"redis_{end}" for text in sources for end in re.findall(r"event}_(\w+)", text)}


def test_snake_case_words_mean_something() -> None:
    """Metrics, reasons, events of the log, policies: nothing is named that does not exist."""
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    known = events() | set(REJECTIONS) | set(DISCONNECTIONS) | set(CHECKS)
    known |= {"service_version", "deployment_env", "evicted_keys"}
    known |= set(re.findall(r"(\w+_\w+):", compose)) | {"container_name"}
    for word in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", RUNBOOK):
        assert word in known or series_in(word), word


def test_settings_named_exist_and_have_these_defaults() -> None:
    known = {row.name: row.default for row in SETTINGS}
    others = {
        "RELAY_TAG",
        "RELAY_HOME",
        "RELAY_PORT",
        "RELAY_INSTANCES",
        "PUBLISHED_PORT",
        "ERR_UNAVAILABLE",
    }
    others |= {"TIME_WAIT", "DOES_NOT"}
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for name in re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)[=`]", text):
            assert name in known or name in others, f"{page}: {name}"
    for names, default, _ in rows(chapter("Configuration")):
        for name, value in zip(
            re.findall(r"`(\w+)`", names), re.findall(r"`(\w+)`", default), strict=False
        ):
            assert str(known[name]) == value


# Chapters.


def test_the_troubleshooting_chapters_have_their_names() -> None:
    found = re.findall(r"(?m)^### (.+)$", chapter("Troubleshooting"))
    assert found == CHAPTERS == list(TROUBLE)


@pytest.mark.parametrize("title", CHAPTERS)
def test_a_chapter_looks_where_the_symptom_was_seen(title: str) -> None:
    """tests/system/test_symptoms.py brings each symptom about; it looks at the same things."""
    tree = ast.parse((ROOT / "tests/system/test_symptoms.py").read_text(encoding="utf-8"))
    slug = "test_" + title.lower().replace(" ", "_")
    symptom = "\n".join(
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(slug)
    )
    assert symptom
    text = chapter(title)
    (line,) = re.findall(r"(?m)^\*\*It shows in\*\* .*$", text)
    assert series_in(line) == series_in(symptom)
    phrases = ("too many connections", "rate limit", "slow consumer")
    assert [p for p in phrases if p in line] == [p for p in phrases if p in symptom]
    assert set(re.findall(r"checks\.(\w+)", line)) == set(
        re.findall(r"\['checks'\]\['(\w+)'\]", symptom)
    )
    # The commands look there, too, and show what it looks like when it is bad.
    commands = "".join(c.text for c in all_commands() if c.chapter == title and c.fenced)
    missing = series_in(line) - series_in(commands.replace("health_(status|check_status)", line))
    assert missing == set()
    assert any("text bad" in c.prints for c in all_commands() if c.chapter == title)


@pytest.mark.parametrize(
    ("title", "reasons"),
    [("High connection rejections", REJECTIONS), ("Connection drops", DISCONNECTIONS)],
)
def test_each_reason_has_its_cure(title: str, reasons: tuple[str, ...]) -> None:
    told = [name for row in rows(chapter(title)) for name in re.findall(r"`([a-z_]+)`", row[0])]
    assert sorted(told) == sorted(reasons)


def test_each_alert_has_its_row() -> None:
    told = {row[0].strip("`"): row for row in rows(chapter("Alerts"))}
    found = {}
    for rule in re.split(r"(?m)^ +- alert: ", ALERTS)[1:]:
        name = rule.split("\n", 1)[0]
        (severity,) = re.findall(r"severity: (\w+)", rule)
        found[name] = (severity, re.findall(r"for: (\d+)m", rule), re.findall(r"> 0\.(\d+)", rule))
    assert set(told) == set(found)
    for name, (severity, minutes, share) in found.items():
        _, said, fires, first, then = told[name]
        assert said == severity, name
        assert not minutes or f"{minutes[0]} min" in fires, name
        if share and name != "RelayRedisSlow":
            assert f"{int(share[0].ljust(2, '0'))} %" in fires, name
        assert first
        assert "#" in then or then == "as above", name


def test_the_dashboards_rows_are_told_of() -> None:
    panels = json.loads((ROOT / "etc/grafana/twisted-relay.json").read_text())["panels"]
    titles = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert [row[0] for row in rows(chapter("Dashboards"))] == titles


def test_incidents_have_four_severities_and_eight_steps() -> None:
    steps = re.findall(r"(?m)^\d\. \*\*(\w[\w ]*)\*\*", chapter("Incident response"))
    page = PAGES[2]
    titles = re.findall(r"(?m)^### \d\. (.+)$", chapter("The eight steps", page))
    assert steps == titles
    assert len(steps) == 8
    for text in (chapter("Incident response"), chapter("Severities", page)):
        assert re.findall(r"(?m)^\| \*\*(SEV\d)\*\*", text) == ["SEV1", "SEV2", "SEV3", "SEV4"]


def test_the_figures_of_tuning_are_those_that_were_measured() -> None:
    planned = chapter("What to plan with", "docs/performance.md")
    said = chapter("Tuning")
    for figure in ("65 MB", "10 KB", "35 KB", "100,000", "2,400", "8 %", "33,000"):
        assert figure in planned, f"{figure} is not in docs/performance.md any more"
        assert figure in said


def test_the_doctor_leads_to_headings_that_exist() -> None:
    for title in CHAPTERS:
        assert f"### {title}" in RUNBOOK


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    operators = (ROOT / "etc/README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"]({page})" in readme
        assert f"](../{page})" in operators
