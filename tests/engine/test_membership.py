"""Coming, going and coming back: the races of the awaited path, seats, labels, tokens, upkeep."""

import pytest
from stand_ins import EPOCH_MS, Bench, result_of

from twisted_relay.core.errors import Close, Code
from twisted_relay.core.tokens import Claims
from twisted_relay.engine.interfaces import StoreAbsent, StoreRefused, StoreUnavailable


def members_told(person):
    stats = person.last("ROOM_STATS")
    return stats["participants"]


# The race: a client that vanishes while its join is awaited (trap 2)


@pytest.mark.parametrize("decides_late", [False, True])
def test_one_who_vanishes_while_the_join_is_awaited_gives_the_seat_back(decides_late):
    bench = Bench()
    owner, room = bench.room()
    bench.store.late, bench.store.decides_late = True, decides_late
    for _ in range(20):
        guest = bench.person()
        guest.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
        guest.vanish()
        bench.store.answer()
    assert bench.seats(room["roomId"]) == 1
    assert owner.heard("SYSTEM_MSG") == []
    assert bench.metrics.members_active == 1


def test_one_who_vanishes_while_a_room_is_created_leaves_no_room_for_long():
    bench = Bench(late=True)
    person = bench.person()
    person.say("ROOM_CREATE")
    person.vanish()
    bench.store.answer()
    bench.pass_time(31)
    assert len(bench.memory) == 0
    assert len(bench.relay.rooms) == 0


def test_a_takeover_whose_new_connection_vanished_gives_the_seat_back_and_ends_the_ghost():
    bench = Bench()
    owner, room = bench.room()
    ghost, joined = bench.guest(room["roomId"], label="Ann")
    bench.store.late = True
    back = bench.person()
    back.say("JOIN_REQUEST", roomId=room["roomId"], token=joined["nextToken"])
    back.vanish()
    bench.store.answer()
    assert ghost.closed is Close.REPLACED
    assert bench.seats(room["roomId"]) == 1
    assert owner.last("SYSTEM_MSG")["text"] == "Ann has left the chat"
    assert members_told(owner) == 1


def test_a_qr_token_spent_by_one_who_vanished_is_rotated():
    bench = Bench()
    owner, room = bench.room()
    bench.store.late = True
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], qrToken=room["qrToken"])
    guest.vanish()
    bench.store.answer()
    assert owner.last("QR_ROTATED")["qrToken"] != room["qrToken"]


def test_one_who_joined_beside_one_who_vanished_is_told_the_true_count_in_the_end():
    bench = Bench()
    owner, room = bench.room()
    bench.store.late = True
    lost, guest = bench.person(), bench.person()
    for person in (lost, guest):
        person.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
    lost.vanish()
    bench.store.answer()
    assert members_told(owner) == members_told(guest) == bench.seats(room["roomId"]) == 2


def test_a_join_that_is_refused_after_the_client_vanished_says_nothing():
    bench = Bench(late=True)
    person = bench.person()
    person.say("JOIN_REQUEST", roomId="no-such-room", token=bench.token("no-such-room"))
    person.vanish()
    bench.store.answer()
    assert person.kinds() == ["HELLO"]


# Coming


def test_a_joiner_hears_hello_joined_system_msg_and_stats_in_this_order():
    bench = Bench()
    _, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    assert guest.kinds()[:4] == ["HELLO", "JOINED", "SYSTEM_MSG", "ROOM_STATS"]


def test_the_others_are_told_who_came_and_how_many_they_are():
    bench = Bench()
    owner, room = bench.room()
    bench.guest(room["roomId"], label="Ann")
    assert owner.last("SYSTEM_MSG") == {
        "roomId": room["roomId"],
        "type": "info",
        "text": "this person has entered the chat with the name Ann",
    }
    assert owner.last("ROOM_STATS") == {"roomId": room["roomId"], "participants": 2, "max": 10}


def test_a_creator_is_told_all_that_it_needs_and_then_the_count():
    bench = Bench()
    owner, room = bench.room(label="Ann")
    assert owner.kinds() == ["HELLO", "ROOM_CREATED", "ROOM_STATS"]
    assert set(room) == {
        "roomId",
        "qrToken",
        "qrExpUnixMs",
        "maxParticipants",
        "memberId",
        "label",
        "nextToken",
        "nextTokenExpUnixMs",
    }
    assert (room["label"], room["maxParticipants"]) == ("Ann", 10)
    assert room["qrExpUnixMs"] == EPOCH_MS + 60_000


def test_a_label_over_32_characters_is_cut_and_not_refused():
    bench = Bench()
    _, room = bench.room()
    _, joined = bench.guest(room["roomId"], label="x" * 40)
    assert joined["label"] == "x" * 32


def test_automatic_labels_stay_unique_after_churn():
    bench = Bench()
    _, room = bench.room()
    labels = [room["label"]]
    for turn in range(12):
        guest, joined = bench.guest(room["roomId"])
        labels.append(joined["label"])
        if turn % 3:
            guest.say("LEAVE", roomId=room["roomId"])
        elif turn % 2:
            guest.vanish()
    assert len(set(labels)) == len(labels)
    assert all(label.startswith("P") for label in labels)


def test_an_automatic_label_never_repeats_one_that_was_asked_for():
    bench = Bench()
    _, room = bench.room()
    bench.guest(room["roomId"], label="P2")
    labels = [bench.guest(room["roomId"])[1]["label"] for _ in range(3)]
    assert "P2" not in labels


def test_member_ids_of_one_room_are_known_to_nobody_else_but_by_their_messages():
    bench = Bench()
    owner, room = bench.room()
    _, joined = bench.guest(room["roomId"])
    assert joined["memberId"] not in str(owner.heard())


# Tokens


def test_a_token_is_spent_only_by_a_join_that_succeeds():
    bench = Bench(rooms={"max_participants": 2})
    _, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    token, late = bench.token(room["roomId"]), bench.person()
    assert late.join(room["roomId"], token) is None
    assert late.last("ERROR")["code"] == Code.ROOM_FULL
    guest.say("LEAVE", roomId=room["roomId"])
    assert late.join(room["roomId"], token)["participants"] == 2


def test_a_token_serves_once():
    bench = Bench()
    _, room = bench.room()
    token = bench.token(room["roomId"])
    first, second = bench.person(), bench.person()
    assert first.join(room["roomId"], token)
    assert second.join(room["roomId"], token) is None
    assert second.last("ERROR")["code"] == Code.TOKEN_REPLAY


def test_the_qr_token_goes_before_the_other_one():
    bench = Bench()
    _, room = bench.room()
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], qrToken=room["qrToken"], token="x" * 20)
    assert guest.last("JOINED")


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (lambda room, now: Claims("another-room", now + 1000, "jti-jti"), Code.TOKEN_ROOM_MISMATCH),
        (lambda room, now: Claims(room, now - 1, "jti-jti"), Code.TOKEN_EXPIRED),
    ],
)
def test_a_token_that_does_not_hold_is_told_why(claims, code):
    bench = Bench()
    _, room = bench.room()
    guest = bench.person()
    guest.join(room["roomId"], bench.signer.sign(claims(room["roomId"], bench.now_ms())))
    assert guest.last("ERROR")["code"] == code


def test_a_fresh_token_is_sent_before_the_last_one_expires():
    bench = Bench(next_token_ttl_ms=600_000)
    owner, room = bench.room()
    expires = room["nextTokenExpUnixMs"]
    for _ in range(5):
        owner.forget()
        while not owner.heard("TOKEN"):
            owner.client.heard_at = bench.clock.seconds() + 1
            bench.pass_time(1)
            assert bench.now_ms() < expires
        token = owner.last("TOKEN")
        assert token["nextTokenExpUnixMs"] > expires
        expires = token["nextTokenExpUnixMs"]
    owner.vanish()
    back = bench.person()
    assert back.join(room["roomId"], token["nextToken"])["resumed"]


def test_a_fresh_token_is_no_longer_sent_to_one_who_left():
    bench = Bench(next_token_ttl_ms=10_000)
    owner, room = bench.room()
    owner.say("LEAVE", roomId=room["roomId"])
    bench.pass_time(20)
    assert owner.heard("TOKEN") == []


# Coming back


def test_one_who_comes_back_has_the_same_id_and_label_and_nobody_is_told():
    bench = Bench()
    owner, room = bench.room()
    guest, joined = bench.guest(room["roomId"], label="Ann")
    owner.forget()
    back = bench.person()
    again = back.join(room["roomId"], joined["nextToken"])
    assert again["resumed"]
    assert (again["memberId"], again["label"]) == (joined["memberId"], "Ann")
    assert owner.heard("SYSTEM_MSG") == []
    assert guest.closed is Close.REPLACED
    assert bench.metrics.members_active == bench.seats(room["roomId"]) == 2


def test_one_who_comes_back_may_take_a_new_label():
    bench = Bench()
    _, room = bench.room()
    _, joined = bench.guest(room["roomId"], label="Ann")
    assert bench.person().join(room["roomId"], joined["nextToken"], label="Eve")["label"] == "Eve"


def test_a_seat_changes_hands_even_in_a_full_room():
    bench = Bench(rooms={"max_participants": 2})
    _, room = bench.room()
    _, joined = bench.guest(room["roomId"])
    assert bench.person().join(room["roomId"], joined["nextToken"])["participants"] == 2


def test_a_next_token_whose_answer_was_lost_serves_again():
    bench = Bench()
    _, room = bench.room()
    _, joined = bench.guest(room["roomId"])
    for _ in range(3):
        assert bench.person().join(room["roomId"], joined["nextToken"])["resumed"]


def test_a_next_token_dies_when_its_successor_is_used():
    bench = Bench()
    _, room = bench.room()
    _, joined = bench.guest(room["roomId"])
    second = bench.person().join(room["roomId"], joined["nextToken"])
    assert bench.person().join(room["roomId"], second["nextToken"])
    late = bench.person()
    assert late.join(room["roomId"], joined["nextToken"]) is None
    assert late.last("ERROR")["code"] == Code.TOKEN_REPLAY


def test_the_leave_of_a_replaced_connection_changes_nothing():
    bench = Bench()
    owner, room = bench.room()
    ghost, joined = bench.guest(room["roomId"])
    bench.store.late = True
    ghost.say("LEAVE", roomId=room["roomId"])
    back = bench.person()
    back.say("JOIN_REQUEST", roomId=room["roomId"], token=joined["nextToken"])
    bench.store.answer()
    ghost.vanish()
    bench.store.answer()
    assert back.last("JOINED")
    assert bench.seats(room["roomId"]) == 2
    assert members_told(owner) == 2


def test_what_a_replaced_connection_still_says_is_heard_by_nobody():
    bench = Bench()
    owner, room = bench.room()
    ghost, joined = bench.guest(room["roomId"])
    bench.person().join(room["roomId"], joined["nextToken"])
    owner.forget()
    ghost.tell(room["roomId"])
    ghost.say("LEAVE", roomId=room["roomId"])
    ghost.vanish()
    assert owner.heard() == []
    assert bench.seats(room["roomId"]) == 2


def test_a_room_waits_for_its_last_member_to_come_back():
    bench = Bench()
    owner, room = bench.room()
    owner.vanish()
    bench.pass_time(29)
    assert bench.person().join(room["roomId"], room["nextToken"])["resumed"]
    bench.pass_time(31)
    assert bench.seats(room["roomId"]) == 1


def test_a_room_to_which_nobody_comes_back_is_gone():
    bench = Bench()
    owner, room = bench.room()
    owner.vanish()
    bench.pass_time(31)
    late = bench.person()
    late.join(room["roomId"], room["nextToken"])
    assert late.last("ERROR")["code"] == Code.NO_ROOM


# Going


def test_a_leave_is_answered_after_the_members_own_messages():
    bench = Bench()
    owner, room = bench.room()
    for _ in range(2):
        owner.tell(room["roomId"])
    id = owner.say("LEAVE", roomId=room["roomId"])
    assert owner.kinds()[-3:] == ["APP_MSG", "APP_MSG", "LEFT"]
    assert owner.heard()[-1]["re"] == id


def test_the_others_are_told_who_left_and_how_many_they_are():
    bench = Bench()
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"], label="Ann")
    guest.say("LEAVE", roomId=room["roomId"])
    assert owner.last("SYSTEM_MSG")["text"] == "Ann has left the chat"
    assert members_told(owner) == 1


def test_a_room_whose_last_member_leaves_is_gone_at_once():
    bench = Bench()
    owner, room = bench.room()
    owner.say("LEAVE", roomId=room["roomId"])
    assert bench.seats(room["roomId"]) is None


def test_leaving_a_room_that_one_is_not_in_is_not_answered_left():
    bench = Bench()
    _, room = bench.room()
    stranger = bench.person()
    stranger.say("LEAVE", roomId=room["roomId"])
    assert stranger.last("ERROR")["code"] == Code.NOT_IN_ROOM
    assert stranger.heard("LEFT") == []


def test_one_who_left_may_enter_another_room_on_the_same_connection():
    bench = Bench()
    owner, room = bench.room()
    owner.say("LEAVE", roomId=room["roomId"])
    assert owner.create()["roomId"] != room["roomId"]


# The store is away


def test_a_join_without_the_store_is_told_unavailable_and_then_closed_with_1013():
    bench = Bench()
    _, room = bench.room()
    bench.store.absent = True
    guest = bench.person()
    guest.join(room["roomId"], bench.token(room["roomId"]))
    assert guest.last("ERROR")["code"] == Code.UNAVAILABLE
    assert guest.closed is Close.TRY_AGAIN_LATER
    assert guest.closed.code == 1013


def test_a_create_without_the_store_is_told_unavailable_and_may_be_tried_again():
    bench = Bench()
    bench.store.absent = True
    person = bench.person()
    assert person.create() is None
    assert person.last("ERROR")["code"] == Code.UNAVAILABLE
    assert person.closed is None
    bench.store.absent = False
    assert person.create()


def test_a_leave_without_the_store_is_answered_and_made_up_for():
    bench = Bench()
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    bench.store.absent = True
    guest.say("LEAVE", roomId=room["roomId"])
    assert guest.last("LEFT")
    assert members_told(owner) == 1
    bench.store.absent = False
    bench.pass_time(2)
    assert bench.seats(room["roomId"]) == 1


def test_every_leave_is_answered_while_the_store_is_away():
    bench = Bench()
    owner, room = bench.room()
    guests = [bench.guest(room["roomId"])[0] for _ in range(3)]
    bench.store.absent = True
    for guest in guests:
        guest.say("LEAVE", roomId=room["roomId"])
    assert all(guest.last("LEFT") for guest in guests)
    assert members_told(owner) == 1


def test_messages_pass_between_members_while_the_store_is_away():
    bench = Bench()
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    bench.store.absent = True
    guest.tell(room["roomId"])
    assert owner.last("APP_MSG")


def test_after_the_store_was_away_the_count_that_is_told_becomes_true():
    bench = Bench()
    owner, room = bench.room()
    first, _ = bench.guest(room["roomId"])
    bench.store.absent = True
    first.vanish()
    bench.store.absent = False
    bench.guest(room["roomId"])
    bench.pass_time(2)
    assert members_told(owner) == bench.seats(room["roomId"]) == 2


def test_a_message_asks_nothing_of_the_store():
    bench = Bench()
    owner, room = bench.room()
    bench.guest(room["roomId"])
    bench.store.calls.clear()
    for _ in range(10):
        owner.tell(room["roomId"])
    bench.turn()
    assert bench.store.calls == []


# Upkeep


def keep_awake(bench, *people):
    for person in people:
        person.client.heard_at = bench.clock.seconds() + 3600


def test_the_qr_token_is_rotated_in_each_interval_and_every_member_told():
    bench = Bench()
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    keep_awake(bench, owner, guest)
    bench.pass_time(181)
    shown = [body["qrToken"] for body in owner.heard("QR_ROTATED")]
    assert len(set(shown)) == 3
    assert shown == [body["qrToken"] for body in guest.heard("QR_ROTATED")]


def test_a_spent_qr_token_is_rotated_at_once_and_the_new_one_serves():
    bench = Bench()
    owner, room = bench.room()
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], qrToken=room["qrToken"])
    fresh = owner.last("QR_ROTATED")["qrToken"]
    assert guest.last("QR_ROTATED")["qrToken"] == fresh
    late = bench.person()
    late.say("JOIN_REQUEST", roomId=room["roomId"], qrToken=fresh)
    assert late.last("JOINED")


def test_a_room_made_over_http_shows_a_qr_token_to_its_first_member():
    bench = Bench()
    room_id = "an-empty-room"
    result_of(bench.store.create(room_id, "", None, None))
    guest, _ = bench.guest(room_id)
    assert guest.last("QR_ROTATED")["roomId"] == room_id


def test_nothing_goes_on_for_a_room_whose_one_member_was_cut_off_even_as_it_came():
    bench = Bench()
    owner, room = bench.room()
    owner.vanish()
    slow = bench.person()
    slow.connection.unsent = 10**9
    slow.join(room["roomId"], bench.token(room["roomId"]))
    bench.turn()
    assert slow.closed is Close.SLOW_CONSUMER
    bench.pass_time(100)
    assert len(bench.clock.getDelayedCalls()) == 2


def test_one_who_joins_as_a_slow_member_is_cut_off_is_told_the_true_count():
    bench = Bench()
    owner, room = bench.room()
    slow, _ = bench.guest(room["roomId"])
    slow.connection.unsent = 10**9
    guest, _ = bench.guest(room["roomId"])
    assert slow.closed is Close.SLOW_CONSUMER
    assert guest.kinds()[:4] == ["HELLO", "JOINED", "SYSTEM_MSG", "ROOM_STATS"]
    assert members_told(owner) == members_told(guest) == bench.seats(room["roomId"]) == 2


def test_a_rotation_that_the_store_missed_is_made_up_for():
    bench = Bench()
    owner, _ = bench.room()
    keep_awake(bench, owner)
    bench.store.absent = True
    bench.pass_time(70)
    bench.store.absent = False
    bench.pass_time(60)
    assert owner.heard("QR_ROTATED")


def test_nothing_is_left_of_a_room_that_everybody_left():
    bench = Bench()
    owner, room = bench.room()
    guest, _ = bench.guest(room["roomId"])
    for person in (owner, guest):
        person.say("LEAVE", roomId=room["roomId"])
        person.vanish()
    bench.turn()
    assert len(bench.relay.rooms) == 0
    assert bench.metrics.members_active == bench.metrics.rooms_active == 0
    fixed = 2  # the heartbeat and the store's sweep
    assert len(bench.clock.getDelayedCalls()) == fixed


def test_a_store_that_fails_while_asked_is_unavailable_too():
    bench = Bench(late=True)
    person = bench.person()
    person.say("ROOM_CREATE")
    bench.store.fail(StoreUnavailable())
    assert person.last("ERROR")["code"] == Code.UNAVAILABLE


# A store that fails


@pytest.mark.parametrize("was_written", [False, True])
def test_a_seat_whose_join_was_never_answered_is_given_back(was_written):
    bench = Bench()
    _, room = bench.room()
    bench.store.late, bench.store.decides_late = True, not was_written
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
    bench.store.fail(StoreUnavailable())
    assert bench.seats(room["roomId"]) == 1 + was_written
    bench.store.late = False
    bench.pass_time(1)
    assert guest.closed is Close.TRY_AGAIN_LATER
    assert bench.seats(room["roomId"]) == 1


@pytest.mark.parametrize("error", [StoreAbsent, StoreRefused])
def test_nothing_is_given_back_where_nothing_was_given(error):
    bench = Bench(late=True)
    person = bench.person()
    person.say("ROOM_CREATE")
    bench.store.fail(error())
    assert person.last("ERROR")["code"] == Code.UNAVAILABLE
    bench.pass_time(5)
    assert bench.store.calls == ["create"]
    assert len(bench.relay._departures) == 0
