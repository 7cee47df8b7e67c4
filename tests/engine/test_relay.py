"""The relay over a real embedded store: order, echo, answers, limits, ends, and bugs of ours."""

import json

import pytest
from stand_ins import Bench, result_of
from twisted.internet.defer import Deferred

from twisted_relay.core.errors import Close, Code, RelayError
from twisted_relay.engine.interfaces import StoreUnavailable

MEDIA = {"mime": "image/png", "size": 10, "chunkSize": 1024, "chunks": ["QUJD"]}


def pair(bench):
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"], label="Ann")
    owner.forget()
    guest.forget()
    return room["roomId"], owner, guest


# Order


def test_a_join_followed_at_once_by_a_message_is_in_time():
    bench = Bench()
    owner, room = bench.room()
    bench.store.late = True
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
    id = guest.tell(room["roomId"], id="first-message")
    bench.store.answer()
    assert [frame["id"] for frame in owner.heard() if frame["t"] == "APP_MSG"] == [id]
    assert guest.heard("ERROR") == []


def test_answers_come_in_the_order_of_the_frames_though_the_store_is_late():
    bench = Bench()
    _, room = bench.room()
    bench.store.late = True
    guest = bench.person()
    ids = [
        guest.say("PING"),
        guest.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"])),
        guest.say("PING"),
        guest.say("NONSENSE"),
        guest.say("ROOM_CREATE"),
        guest.say("LEAVE", roomId=room["roomId"]),
        guest.say("PING"),
        guest.say("LEAVE", roomId=room["roomId"]),
    ]
    while bench.store.waiting:
        bench.store.answer(1)
    answers = [(frame["re"], frame["t"]) for frame in guest.heard() if "re" in frame]
    assert answers == list(
        zip(ids, ["PONG", "JOINED", "PONG", "ERROR", "ERROR", "LEFT", "PONG", "ERROR"], strict=True)
    )


def test_two_joins_sent_at_once_put_one_connection_into_one_room():
    bench = Bench()
    rooms = [bench.room()[1]["roomId"] for _ in range(2)]
    bench.store.late = True
    guest = bench.person()
    for room_id in rooms:
        guest.say("JOIN_REQUEST", roomId=room_id, token=bench.token(room_id))
    bench.store.answer()
    assert [bench.seats(room_id) for room_id in rooms] == [2, 1]
    assert guest.last("ERROR")["code"] == Code.ALREADY_IN_ROOM


def test_a_connection_is_not_read_from_while_its_join_is_awaited():
    bench = Bench(late=True)
    person = bench.person()
    person.say("ROOM_CREATE")
    assert person.connection.paused
    bench.store.answer()
    assert not person.connection.paused


def test_a_connection_whose_join_was_decided_at_once_is_read_on():
    bench = Bench()
    owner, _ = bench.room()
    assert not owner.connection.paused


@pytest.mark.parametrize("late", [False, True])
def test_many_parked_refusals_are_answered_without_recursion(late):
    bench = Bench(session={"max_msgs_per_10s": 10_000}, late=True)
    person = bench.person()
    token = bench.token("no-such-room")
    for _ in range(3000):
        person.say("JOIN_REQUEST", roomId="no-such-room", token=token)
    bench.store.late = late
    bench.store.answer()
    assert [body["code"] for body in person.heard("ERROR")] == [Code.NO_ROOM] * 3000


def test_every_member_hears_the_messages_of_a_room_in_one_order():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    ids = []
    for number in range(10):
        ids.append((owner, guest)[number % 2].tell(room_id, id=f"message-{number}"))
        if number % 3 == 0:
            guest.say("PING")
    for person in (owner, guest):
        assert [f["id"] for f in person.heard() if f["t"] == "APP_MSG"] == ids


# Messages


def test_a_message_is_heard_by_all_and_its_copy_is_the_senders_acknowledgement():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    id = guest.tell(room_id, "SGVsbG8=")
    assert owner.heard() == guest.heard()
    frame = owner.heard()[0]
    assert (frame["id"], frame["t"], frame["body"]["ciphertextB64"]) == (id, "APP_MSG", "SGVsbG8=")
    assert "re" not in frame


def test_a_message_names_its_sender_by_the_member_id():
    bench = Bench()
    owner, room = bench.room()
    owner.tell(room["roomId"])
    assert owner.last("APP_MSG")["memberId"] == room["memberId"]


def test_media_goes_to_the_others_with_the_senders_name_and_its_sender_has_an_ack():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    id = guest.say("MEDIA_MSG", roomId=room_id, **MEDIA, **{"from": "Mallory"})
    heard = owner.last("MEDIA_MSG")
    assert {**MEDIA, "roomId": room_id, "from": "Ann"}.items() <= heard.items()
    assert [(f["t"], f.get("re")) for f in guest.heard()] == [("ACK", id)]


def test_a_message_reaches_nobody_outside_the_room():
    bench = Bench()
    room_id, _, guest = pair(bench)
    _, other = bench.room()
    stranger, _ = bench.guest(other["roomId"])
    lurker = bench.person()
    stranger.forget()
    lurker.forget()
    guest.tell(room_id)
    stranger.tell(room_id)
    assert stranger.kinds() == ["ERROR"]
    assert lurker.heard() == []


def test_one_who_left_hears_no_more():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    guest.say("LEAVE", roomId=room_id)
    guest.forget()
    owner.tell(room_id)
    assert guest.heard() == []


# Answers


def test_a_client_is_greeted_with_what_it_must_know():
    bench = Bench()
    (hello,) = bench.person().heard()
    assert hello["t"] == "HELLO"
    assert hello["body"]["serverTimeUnixMs"] == bench.now_ms()
    assert hello["body"]["pingIntervalMs"] == 30_000
    assert hello["body"]["limits"]["maxMsgsPer10s"] == 1000


def test_every_answer_carries_the_id_that_it_answers():
    bench = Bench()
    person = bench.person()
    ids = [person.say("PING"), person.say("LEAVE", roomId="some-room"), person.say("NONSENSE")]
    assert [frame.get("re") for frame in person.heard()[1:]] == ids


def test_every_frame_of_our_own_has_an_id_of_its_own():
    bench = Bench()
    person = bench.person()
    for _ in range(20):
        person.say("PING")
    ids = [frame["id"] for frame in person.heard()]
    assert len(set(ids)) == len(ids)
    assert all(8 <= len(id) <= 256 for id in ids)


@pytest.mark.parametrize(
    "frame",
    [
        {"v": 1, "t": "NONSENSE", "id": "frame-0001", "body": {}},
        {"v": 1, "t": "PING", "id": "x", "body": {}},
        {"v": 1, "t": "ROOM_CREATE", "id": "frame-0001", "body": {"label": 5}},
        {},
    ],
)
def test_an_invalid_frame_is_answered_and_closes_nothing(frame):
    bench = Bench()
    person = bench.person()
    person.say_raw(json.dumps(frame).encode())
    assert person.last("ERROR")["code"] == Code.INVALID_MESSAGE
    assert person.closed is None
    assert bench.metrics.errors_sent["ERR_INVALID_MESSAGE"] == 1


def test_a_label_of_33_characters_closes_nothing():
    bench = Bench()
    person = bench.person()
    assert person.create(label="x" * 33)["label"] == "x" * 32


# Closes


def test_text_that_is_no_json_object_is_closed_with_1003():
    bench = Bench()
    person = bench.person()
    person.say_raw(b"[1,2]")
    assert person.closed is Close.INVALID_MESSAGE


def test_a_binary_message_is_closed_with_1003():
    bench = Bench()
    person = bench.person()
    bench.relay.received_binary(person.client)
    assert person.closed is Close.INVALID_MESSAGE


def test_too_many_messages_are_closed_with_1008_and_the_seat_is_free():
    bench = Bench(session={"max_msgs_per_10s": 5})
    owner, room = bench.room()
    for _ in range(6):
        owner.say("PING")
    assert owner.closed is Close.RATE_LIMIT
    assert bench.seats(room["roomId"]) == 0
    assert bench.metrics.disconnect_reasons["rate_limit"] == 1


def test_a_slow_consumer_is_cut_at_the_configured_value_and_the_others_are_told():
    bench = Bench(session={"slow_consumer_buffer_threshold": 5000})
    room_id, owner, guest = pair(bench)
    guest.connection.unsent = 5000
    owner.tell(room_id)
    bench.turn()
    assert guest.closed is None
    guest.connection.unsent = 5001
    owner.tell(room_id)
    bench.turn()
    assert guest.closed is Close.SLOW_CONSUMER
    assert owner.last("SYSTEM_MSG")["text"] == "Ann has left the chat"
    assert bench.seats(room_id) == 1


def test_a_slow_consumer_is_not_cut_where_that_was_switched_off():
    bench = Bench(cut_slow=False)
    room_id, owner, guest = pair(bench)
    guest.connection.unsent = 10**9
    owner.tell(room_id)
    bench.turn()
    assert guest.closed is None


def test_when_every_member_is_slow_the_room_can_still_be_joined():
    bench = Bench(session={"slow_consumer_buffer_threshold": 5000}, rooms={"key_ttl_ms": 20_000})
    owner, room = bench.room()
    owner.tell(room["roomId"])
    owner.connection.unsent = 5001
    guest, joined = bench.guest(room["roomId"])
    assert owner.closed is Close.SLOW_CONSUMER
    assert joined
    for _ in range(4):
        guest.client.heard_at = 1e9
        bench.pass_time(20)
    assert bench.seats(room["roomId"]) == 1


def test_one_who_enters_no_room_is_closed_when_the_join_timeout_ends():
    bench = Bench()
    person = bench.person()
    person.client.heard_at = 1e9
    bench.pass_time(59)
    assert person.closed is None
    bench.pass_time(1)
    assert person.closed is Close.JOIN_TIMEOUT


def test_a_member_has_no_join_timeout_until_it_leaves():
    bench = Bench()
    owner, room = bench.room()
    owner.client.heard_at = 1e9
    bench.pass_time(120)
    assert owner.closed is None
    owner.say("LEAVE", roomId=room["roomId"])
    owner.client.heard_at = 1e9
    bench.pass_time(61)
    assert owner.closed is Close.JOIN_TIMEOUT


def test_a_refused_join_does_not_start_the_join_timeout_anew():
    bench = Bench()
    person = bench.person()
    person.client.heard_at = 1e9
    bench.pass_time(50)
    person.join("no-such-room", bench.token("no-such-room"))
    person.client.heard_at = 1e9
    bench.pass_time(10)
    assert person.closed is Close.JOIN_TIMEOUT


def test_a_silent_member_is_closed_and_leaves_the_count():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    owner.client.heard_at = 1e9
    bench.pass_time(41)
    assert guest.closed is Close.PING_TIMEOUT
    assert owner.last("ROOM_STATS")["participants"] == bench.seats(room_id) == 1


def test_a_lost_connection_counts_once_with_the_reason_of_whoever_ended_it():
    bench = Bench()
    person = bench.person()
    person.say_raw(b"[]")
    person.vanish()
    person.vanish()
    assert bench.metrics.disconnections == 1
    assert bench.metrics.active_connections == 0
    assert bench.metrics.disconnect_reasons["invalid_message"] == 1
    assert bench.metrics.disconnect_reasons["lost"] == 0


def test_nothing_is_read_from_a_connection_that_is_being_closed():
    bench = Bench()
    person = bench.person()
    person.say_raw(b"[]")
    person.say("ROOM_CREATE")
    assert bench.store.calls == []


# Drains


def test_a_drain_asks_every_client_to_come_back_and_ends_when_all_have_gone():
    bench = Bench()
    room_id, owner, guest = pair(bench)
    lurker, done = bench.person(), []
    Deferred.fromCoroutine(bench.relay.drain(10)).addCallback(done.append)
    assert lurker.closed is Close.SERVICE_RESTART
    bench.pass_time(1, step=0.01)
    assert owner.closed is guest.closed is Close.SERVICE_RESTART
    assert bench.relay.draining
    assert done == []
    for person in (owner, guest, lurker):
        person.vanish()
    bench.pass_time(0.1, step=0.01)
    assert done == [None]
    assert bench.seats(room_id) == 0


def test_a_drain_waits_for_the_leaves_to_be_written():
    bench = Bench()
    _, room = bench.room()
    bench.store.absent, done = True, []
    Deferred.fromCoroutine(bench.relay.drain(10)).addCallback(done.append)
    for client in tuple(bench.relay.clients):
        bench.relay.lost(client, "lost")
    bench.pass_time(2, step=0.01)
    assert done == []
    bench.store.absent = False
    bench.pass_time(2, step=0.01)
    assert done == [None]
    assert bench.seats(room["roomId"]) == 0


def test_a_drain_ends_when_its_time_is_over():
    bench = Bench()
    pair(bench)
    done = []
    Deferred.fromCoroutine(bench.relay.drain(3)).addCallback(done.append)
    bench.pass_time(3.1, step=0.01)
    assert done == [None]


def test_a_drain_does_not_send_all_rooms_away_in_one_instant():
    bench = Bench()
    people = [bench.room()[0] for _ in range(20)]
    Deferred.fromCoroutine(bench.relay.drain(10))
    assert sum(person.closed is not None for person in people) == 1
    bench.pass_time(5, step=0.01)
    assert all(person.closed is Close.SERVICE_RESTART for person in people)


# HTTP calls


def test_an_empty_room_can_be_created_and_joined_with_its_token():
    bench = Bench()
    room_id = result_of(bench.relay.create_empty_room("address"))
    token, expires = result_of(bench.relay.room_token(room_id))
    assert expires == bench.now_ms() + 60_000
    assert bench.person().join(room_id, token)["participants"] == 1


def test_there_is_no_token_for_a_room_that_does_not_exist():
    with pytest.raises(RelayError) as caught:
        result_of(Bench().relay.room_token("no-such-room"))
    assert caught.value.code is Code.NO_ROOM


def test_the_creation_limit_counts_both_ways_of_creating():
    bench = Bench(rooms={"max_creates_per_ip_per_min": 2})
    result_of(bench.relay.create_empty_room("192.0.2.1"))
    person = bench.person("192.0.2.1")
    assert person.create()
    other = bench.person("192.0.2.1")
    assert other.create() is None
    error = other.last("ERROR")
    assert (error["code"], error["retryable"]) == (Code.RATE_LIMITED, True)
    assert 0 < error["retryAfterMs"] <= 30_001
    with pytest.raises(RelayError) as caught:
        result_of(bench.relay.create_empty_room("192.0.2.1"))
    assert caught.value.retry_after_ms > 0
    assert bench.person("192.0.2.2").create()


@pytest.mark.parametrize(
    "call",
    [lambda relay: relay.create_empty_room("address"), lambda relay: relay.room_token("room-id-1")],
)
def test_a_call_without_the_store_is_unavailable(call):
    bench = Bench()
    bench.store.absent = True
    with pytest.raises(RelayError) as caught:
        result_of(call(bench.relay))
    assert caught.value.code is Code.UNAVAILABLE


# Bugs of ours


def test_a_bug_on_the_awaited_path_closes_that_connection_alone_and_is_counted(no_unseen_failures):
    bench = Bench()
    room_id, owner, guest = pair(bench)
    bench.store.late = True
    person = bench.person()
    person.say("ROOM_CREATE")
    bench.store.fail(ValueError("a bug"))
    assert person.closed is Close.INTERNAL_ERROR
    assert bench.metrics.unhandled_errors["ROOM_CREATE"] == 1
    assert owner.closed is guest.closed is None
    guest.tell(room_id)
    assert owner.last("APP_MSG")
    no_unseen_failures.clear()


def test_a_bug_on_the_way_of_a_message_closes_that_connection_alone(no_unseen_failures):
    bench = Bench()
    room_id, owner, guest = pair(bench)
    guest.client.member.id = object()
    guest.tell(room_id)
    assert guest.closed is Close.INTERNAL_ERROR
    assert owner.closed is None
    no_unseen_failures.clear()


def test_the_store_going_away_under_a_join_closes_nobody_else():
    bench = Bench()
    _, owner, guest = pair(bench)
    bench.store.late = True
    person = bench.person()
    person.say("JOIN_REQUEST", roomId="some-room", token=bench.token("some-room"))
    bench.store.fail(StoreUnavailable())
    assert person.closed is Close.TRY_AGAIN_LATER
    assert owner.closed is guest.closed is None


# Counts


def test_what_is_received_is_counted_by_type():
    bench = Bench()
    room_id, owner, _ = pair(bench)
    owner.tell(room_id)
    owner.say("PING")
    owner.say("ROOM_CREATE")
    owner.say("NONSENSE")
    received = bench.metrics.messages_received
    assert received["APP_MSG"] == received["PING"] == received["INVALID"] == 1
    assert (received["ROOM_CREATE"], received["JOIN_REQUEST"]) == (2, 1)


def test_a_stopped_relay_keeps_no_timer():
    bench = Bench()
    pair(bench)
    bench.person()
    bench.turn()
    bench.relay.stop()
    result_of(bench.store.stop())
    assert bench.clock.getDelayedCalls() == []


def test_two_thousand_who_came_talked_and_went_leave_nothing_behind():
    bench = Bench()
    _, room = bench.room()
    for turn in range(2000):
        guest, _ = bench.guest(room["roomId"])
        guest.tell(room["roomId"])
        if turn % 2:
            guest.say("LEAVE", roomId=room["roomId"])
        guest.vanish()
    bench.turn()
    for client in tuple(bench.relay.clients):
        bench.relay.lost(client, "lost")
    bench.pass_time(100)
    assert not bench.relay.clients
    assert len(bench.relay.rooms) == len(bench.memory) == 0
    assert bench.metrics.members_active == bench.metrics.active_connections == 0
    assert len(bench.clock.getDelayedCalls()) == 2
