"""Three instances behind the shipped HAProxy are restarted one after another, and nobody minds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.ops.fronts import Front, start_haproxy
from tests.system.conftest import SHARED, Client, RelayProcess, http, poll

ROOMS, PEOPLE = 40, 5


class Door:
    """The proxy's plain port, for people: whoever is refused there fails the test."""

    def __init__(self, front: Front) -> None:
        self.port = front.plain_port

    def connect(self, **options: Any) -> Client:
        return Client(self.port, **options)

    def http_token(self, room_id: str) -> str:
        answer = http(self.port, "GET", f"/rooms/{room_id}/token")
        assert answer.status == 200
        return str(answer.json["token"])


class Fleet:
    """Three instances, each of which can be started anew on its port."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._folder = folder
        self._settings = SHARED | {"REDIS_URL": redis_url, "TRUST_PROXY": "127.0.0.1/32"}
        self._started = 0
        self.relays = [self.start() for _ in range(3)]

    def start(self, port: int | None = None) -> RelayProcess:
        folder = self._folder / f"relay-{self._started}"
        self._started += 1
        folder.mkdir()
        where = {} if port is None else {"PORT": port}
        relay = RelayProcess(folder, wait=False, **self._settings, **where)
        relay.port = port or relay.port
        relay.wait_alive()
        poll(lambda: relay.ready, "ready")
        return relay

    def stop(self) -> None:
        for relay in self.relays:
            relay.stop()


def come_back(people: Any, door: Door, stay: Any) -> None:
    """Do as clients do: come back with the newest token after a random time, and talk on."""

    def ask() -> None:
        again = stay.party.ask(door, stay.next_token)
        stay.party.chatter([again], 5, 2.0)

    people.after(people.random.uniform(0, 0.4), ask)


def test_a_rolling_restart_of_three_instances(
    ops: Any, start_program: Any, tmp_path: Path, people: Any, redis_server: Any
) -> None:
    fleet = Fleet(tmp_path, redis_server.url)
    try:
        front = start_haproxy(
            ops,
            start_program,
            tmp_path,
            [relay.port for relay in fleet.relays],
            # People here speak without TLS.
            ("    http-request redirect scheme https code 308 unless { ssl_fc }\n", ""),
        )
        door = Door(front)
        parties = [people.party() for _ in range(ROOMS)]
        for party in parties:
            party.gather(*[door] * PEOPLE)
        seats = {stay.member_id: stay.label for party in parties for stay in party.here}
        assert len(seats) == ROOMS * PEOPLE
        told: set[Any] = set()

        def all_back() -> bool:
            for party in parties:
                for stay in party.stays:
                    if stay.ended and stay not in told:
                        told.add(stay)
                        assert stay.ended == (1012, "service restart")
                        come_back(people, door, stay)
            return all(len(party.here) == PEOPLE for party in parties)

        for number, relay in enumerate(tuple(fleet.relays)):
            for party in parties:
                party.chatter(party.here, 5, 3.0)
            before = len(told)
            relay.terminate()
            people.until(
                lambda relay=relay: all_back() and relay.process.poll() is not None,
                "everybody back, and the end of the process",
                40,
            )
            assert len(told) > before, "the proxy had sent somebody there"
            fleet.relays[number] = fleet.start(relay.port)
            people.until(all_back, "everybody back", 40)

        for party in parties:
            party.settled(30)
            party.counted(PEOPLE)
            # Each message is there, or its sender or the room was told that it may not be.
            party.check(gaps=True, refusals=["ERR_UNAVAILABLE"])
        assert {stay.member_id: stay.label for party in parties for stay in party.here} == seats
        assert [relay.err for relay in fleet.relays] == ["", "", ""]
    finally:
        people.hang_up()
        fleet.stop()
