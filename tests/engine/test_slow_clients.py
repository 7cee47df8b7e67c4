"""A client that does not keep up, or comes late, spoils nothing for the others."""

from stand_ins import Bench

from twisted_relay.core.errors import Close

TOO_MUCH = 10**9


def kinds(person):
    return [frame["t"] for frame in person.heard()]


def test_the_others_hear_the_message_before_they_hear_who_was_cut_off_by_it():
    bench = Bench()
    sender, room = bench.room()
    slow, _ = bench.guest(room["roomId"])
    other, _ = bench.guest(room["roomId"])
    for person in (sender, slow, other):
        person.forget()
    slow.connection.unsent = TOO_MUCH
    sender.tell(room["roomId"])
    bench.turn()
    bench.turn()
    expected = ["APP_MSG", "SYSTEM_MSG", "ROOM_STATS"]
    assert kinds(sender) == kinds(other) == expected
    assert slow.closed is Close.SLOW_CONSUMER
    assert kinds(slow) == []


def test_what_was_withheld_once_is_never_followed_by_more():
    bench = Bench()
    sender, room = bench.room()
    slow, _ = bench.guest(room["roomId"])
    slow.forget()
    slow.connection.unsent = TOO_MUCH
    sender.tell(room["roomId"])
    bench.relay._fanout.flush(slow.client.member.room)
    # The network catches up before the turn ends: a message is missing all the same.
    slow.connection.unsent = 0
    sender.tell(room["roomId"])
    bench.turn()
    bench.turn()
    assert kinds(slow) == []
    assert slow.closed is Close.SLOW_CONSUMER


def test_one_who_was_too_slow_even_for_its_welcome_has_entered_before_it_has_left():
    bench = Bench()
    owner, room = bench.room()
    owner.forget()
    slow = bench.person()
    slow.connection.unsent = TOO_MUCH
    slow.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
    bench.turn()
    bench.turn()
    texts = [body["text"] for body in owner.heard("SYSTEM_MSG")]
    assert texts == [
        "this person has entered the chat with the name P2",
        "P2 has left the chat",
    ]
    assert owner.last("ROOM_STATS")["participants"] == bench.seats(room["roomId"]) == 1


def test_a_joiner_in_the_turn_in_which_another_is_cut_off_hears_joined_first_and_the_true_count():
    bench = Bench()
    sender, room = bench.room()
    slow, _ = bench.guest(room["roomId"])
    slow.connection.unsent = TOO_MUCH
    token = bench.token(room["roomId"])
    sender.tell(room["roomId"])
    joiner = bench.person()
    joiner.say("JOIN_REQUEST", roomId=room["roomId"], token=token)
    bench.turn()
    bench.turn()
    assert kinds(joiner)[:4] == ["HELLO", "JOINED", "SYSTEM_MSG", "ROOM_STATS"]
    assert joiner.last("ROOM_STATS")["participants"] == bench.seats(room["roomId"]) == 2


def test_a_qr_token_is_replaced_when_it_expires_however_late_the_room_was_entered():
    bench = Bench(rooms={"qr_rotation_ms": 60_000, "empty_grace_ms": 30_000})
    owner, room = bench.room()
    owner.client.heard_at = 1e9
    bench.pass_time(50)
    owner.vanish()
    bench.pass_time(5)
    back = bench.person()
    back.join(room["roomId"], room["nextToken"])
    back.client.heard_at = 1e9
    shown = back.last("QR_ROTATED")
    bench.pass_time(6)
    assert back.last("QR_ROTATED")["qrExpUnixMs"] > bench.now_ms() >= shown["qrExpUnixMs"]


def test_frames_that_are_no_messages_are_counted_like_messages():
    bench = Bench(session={"max_msgs_per_10s": 20})
    person, room = bench.room()
    for _ in range(19):
        assert bench.relay.admits_frame(person.client)
    assert not bench.relay.admits_frame(person.client)
    assert person.closed is Close.RATE_LIMIT
    assert bench.seats(room["roomId"]) == 0


def test_limits_go_by_the_time_at_which_things_came():
    bench = Bench(session={"max_msgs_per_10s": 20})
    person = bench.person()
    for _ in range(20):
        assert bench.relay.admits_frame(person.client)
    person.client.heard_at += 1.0
    for _ in range(2):
        assert bench.relay.admits_frame(person.client)
    person.client.heard_at += 0.5
    bench.relay.received(person.client, b'{"v":1,"t":"PING","id":"frame-01","body":{}}')
    assert person.closed is None
    assert not bench.relay.admits_frame(person.client)
