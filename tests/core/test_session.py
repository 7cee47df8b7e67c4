"""One client's state table: what is in place when, what waits, and what a closed one may do."""

import json
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core import wire
from twisted_relay.core.errors import Close, Code
from twisted_relay.core.session import Refusal, Session, State

ROOM, OTHER = "roomroomroomroomroom12", "otherotherotherother12"


LIMITS = SimpleNamespace(
    max_ws_msg_bytes=10_000,
    max_app_ciphertext_bytes=4096,
    max_msgs_per_10s=100,
    max_bytes_per_10s=100_000,
)


def session(now=0.0, **over):
    return Session(SimpleNamespace(**vars(LIMITS) | over), now)


def frame(kind, id="frame-0001", **body):
    return json.dumps({"v": 1, "t": kind, "id": id, "body": body}).encode()


CREATE = frame("ROOM_CREATE")
JOIN = frame("JOIN_REQUEST", roomId=ROOM, token="t" * 8)
LEAVE = frame("LEAVE", roomId=ROOM)
APP = frame("APP_MSG", roomId=ROOM, ciphertextB64="QUJD")
MEDIA = frame("MEDIA_MSG", roomId=ROOM, mime="m", size=1, chunkSize=1024, chunks=["QUJD"])
PING = frame("PING")


def in_room(**over):
    member = session(**over)
    member.received(JOIN, 0.0)
    member.joined(ROOM)
    return member


def code_of(intent):
    assert isinstance(intent, Refusal)
    return intent.error.code


@pytest.mark.parametrize(
    ("payload", "type_", "state"),
    [
        (CREATE, wire.RoomCreate, State.ENTERING),
        (JOIN, wire.JoinRequest, State.ENTERING),
        (PING, wire.Ping, State.LOBBY),
    ],
)
def test_in_the_lobby_one_may_create_join_and_ping(payload, type_, state):
    client = session()
    assert type(client.received(payload, 0.0)) is type_
    assert client.state is state


@pytest.mark.parametrize("payload", [LEAVE, APP, MEDIA])
def test_in_the_lobby_nothing_can_be_said_to_a_room_nor_left(payload):
    client = session()
    assert code_of(client.received(payload, 0.0)) is Code.NOT_IN_ROOM
    assert client.state is State.LOBBY


@pytest.mark.parametrize(
    ("payload", "type_"),
    [(APP, wire.AppMsg), (MEDIA, wire.MediaMsg), (PING, wire.Ping), (LEAVE, wire.Leave)],
)
def test_a_member_may_speak_ping_and_leave(payload, type_):
    assert type(in_room().received(payload, 0.0)) is type_


@pytest.mark.parametrize("payload", [CREATE, JOIN])
def test_a_member_cannot_enter_a_second_room(payload):
    client = in_room()
    assert code_of(client.received(payload, 0.0)) is Code.ALREADY_IN_ROOM
    assert (client.state, client.room_id) == (State.IN_ROOM, ROOM)


@pytest.mark.parametrize(
    "payload", [frame("LEAVE", roomId=OTHER), frame("APP_MSG", roomId=OTHER, ciphertextB64="QUJD")]
)
def test_a_member_can_neither_leave_nor_speak_to_another_room(payload):
    client = in_room()
    assert code_of(client.received(payload, 0.0)) is Code.NOT_IN_ROOM
    assert client.state is State.IN_ROOM


def test_two_joins_at_once_put_nobody_into_two_rooms():
    client = session()
    assert type(client.received(JOIN, 0.0)) is wire.JoinRequest
    assert client.received(JOIN, 0.0) is None
    client.joined(ROOM)
    assert [code_of(intent) for intent in client.resume()] == [Code.ALREADY_IN_ROOM]


def test_frames_behind_a_join_wait_for_it_and_then_come_in_order():
    client = session()
    client.received(JOIN, 0.0)
    assert [client.received(payload, 0.0) for payload in (APP, PING, MEDIA)] == [None] * 3
    client.joined(ROOM)
    assert [type(intent) for intent in client.resume()] == [wire.AppMsg, wire.Ping, wire.MediaMsg]


def test_frames_behind_a_refused_join_are_judged_from_the_lobby():
    client = session()
    client.received(JOIN, 0.0)
    client.received(APP, 0.0)
    client.refused()
    assert [code_of(intent) for intent in client.resume()] == [Code.NOT_IN_ROOM]


def test_what_was_parked_stops_at_the_next_frame_that_must_be_waited_for():
    client = session()
    for payload in (JOIN, LEAVE, PING):
        client.received(payload, 0.0)
    client.joined(ROOM)
    assert [type(intent) for intent in client.resume()] == [wire.Leave]
    client.left()
    assert client.room_id is None
    assert [type(intent) for intent in client.resume()] == [wire.Ping]


def test_one_who_left_may_enter_again():
    client = in_room()
    client.received(LEAVE, 0.0)
    client.left()
    assert type(client.received(CREATE, 0.0)) is wire.RoomCreate


def test_more_messages_than_the_rate_allows_end_the_connection():
    client = session(max_msgs_per_10s=5)
    answers = [client.received(PING, 0.0) for _ in range(6)]
    assert answers[5] is Close.RATE_LIMIT
    assert not any(isinstance(answer, Close) for answer in answers[:5])


def test_the_message_budget_has_no_boundary_at_which_it_doubles():
    client = session(max_msgs_per_10s=10)
    assert all(type(client.received(PING, 9.99)) is wire.Ping for _ in range(10))
    assert client.received(PING, 10.01) is Close.RATE_LIMIT


def test_more_bytes_than_the_rate_allows_end_the_connection():
    client = session(max_bytes_per_10s=1000, max_ws_msg_bytes=1000)
    assert client.received(b"x" * 1001, 0.0) is Close.RATE_LIMIT


def test_a_frame_of_the_largest_size_passes_however_small_the_byte_rate():
    client = session(max_bytes_per_10s=10, max_ws_msg_bytes=1000)
    assert type(client.received(PING + b" " * (1000 - len(PING)), 0.0)) is wire.Ping


def test_parked_frames_are_paid_for_when_they_arrive():
    client = session(max_msgs_per_10s=3)
    assert client.received(JOIN, 0.0) is not None
    assert [client.received(PING, 0.0) for _ in range(3)] == [None, None, Close.RATE_LIMIT]


@pytest.mark.parametrize("payload", [b"[]", b"text", b""])
def test_what_is_no_json_object_ends_the_connection(payload):
    assert session().received(payload, 0.0) is Close.INVALID_MESSAGE


def test_an_invalid_frame_is_refused_and_changes_nothing():
    client = in_room()
    intent = client.received(frame("NONSENSE"), 0.0)
    assert code_of(intent) is Code.INVALID_MESSAGE
    assert (intent.re, client.state) == ("frame-0001", State.IN_ROOM)


def test_a_session_that_parks_nothing_is_small():
    # There are as many of them as connections; an empty deque alone would be 600 bytes.
    tracemalloc.start()
    try:
        empty, _ = tracemalloc.get_traced_memory()
        sessions = [Session(LIMITS, 0.0) for _ in range(1000)]
        for client in sessions:
            client.received(JOIN, 0.0)
            client.received(PING, 0.0)
            client.joined(ROOM)
            assert len(list(client.resume())) == 1
        full, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (full - empty) / len(sessions) < 500


def test_a_closed_session_hears_nothing():
    client = session()
    client.received(JOIN, 0.0)
    client.received(APP, 0.0)
    client.closed()
    assert client.received(PING, 0.0) is None
    assert list(client.resume()) == []
    assert client.is_closed


def test_a_session_closed_by_a_parked_frame_looks_at_no_further_one():
    client = session()
    for payload in (JOIN, b"text", PING):
        client.received(payload, 0.0)
    client.joined(ROOM)
    intents = []
    for intent in client.resume():
        intents.append(intent)
        client.closed()
    assert intents == [Close.INVALID_MESSAGE]


@given(
    st.lists(
        st.sampled_from([CREATE, JOIN, LEAVE, APP, MEDIA, PING, b"[]", frame("X"), "ok", "no"]),
        max_size=40,
    )
)
def test_whatever_comes_each_frame_has_one_intent_in_the_order_sent(steps):
    client, sent, intents = session(max_msgs_per_10s=1000, max_bytes_per_10s=10**6), 0, []
    asked = None
    for step in steps:
        if step in ("ok", "no"):
            if asked is None:
                continue
            if asked is wire.Leave:
                client.left()
            elif step == "ok":
                client.joined(ROOM)
            else:
                client.refused()
            intents += client.resume()
        else:
            sent += 1
            intent = client.received(step, 0.0)
            intents += [] if intent is None else [intent]
        awaited = wire.RoomCreate | wire.JoinRequest | wire.Leave
        asked = type(intents[-1]) if intents and client.waiting else None
        assert asked is None or isinstance(intents[-1], awaited)
        assert (client.room_id is None) == (client.state in (State.LOBBY, State.ENTERING))
        assert len(intents) == sent or client.waiting


# Messages under way


def under_way(count=1, **over):
    client = in_room(**over)
    for _ in range(count):
        assert isinstance(client.received(APP, 0.0), wire.AppMsg)
        client.sent()
    return client


@pytest.mark.parametrize("payload", [APP, MEDIA])
def test_a_message_may_follow_one_that_is_under_way(payload):
    client = under_way()
    assert isinstance(client.received(payload, 0.0), wire.AppMsg | wire.MediaMsg)
    assert not client.waiting


@pytest.mark.parametrize(
    "payload",
    [PING, LEAVE, JOIN, frame("NONSENSE"), frame("APP_MSG", roomId=OTHER, ciphertextB64="QUJD")],
)
def test_what_is_answered_in_another_way_waits_for_what_is_under_way(payload):
    client = under_way(2)
    assert client.received(payload, 0.0) is None
    assert client.waiting
    assert client.state is State.IN_ROOM
    assert not client.arrived()
    assert list(client.resume()) == []
    assert client.arrived()
    assert len(list(client.resume())) == 1
    assert not (client.waiting and client.state is State.IN_ROOM)


def test_a_message_behind_what_waits_waits_too():
    client = under_way()
    client.received(PING, 0.0)
    assert client.received(APP, 0.0) is None
    client.arrived()
    assert [type(intent) for intent in client.resume()] == [wire.Ping, wire.AppMsg]


def test_what_follows_a_message_that_is_sent_on_waits_again():
    client = under_way()
    for payload in (PING, APP, PING):
        client.received(payload, 0.0)
    client.arrived()
    taken = []
    for intent in client.resume():
        taken.append(type(intent))
        if isinstance(intent, wire.AppMsg):
            client.sent()
    assert taken == [wire.Ping, wire.AppMsg]
    assert client.waiting


def test_a_close_waits_for_nothing():
    assert under_way().received(b"[]", 0.0) is Close.INVALID_MESSAGE
    assert under_way(max_msgs_per_10s=2).received(PING, 0.0) is Close.RATE_LIMIT
