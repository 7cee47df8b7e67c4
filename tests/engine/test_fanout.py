"""The way out: encoded once, written once in a turn, in the order said, cut when not taken."""

import pytest
from stand_ins import Connection, session_limits
from twisted.internet.task import Clock

from twisted_relay.core.rooms import Rooms
from twisted_relay.core.session import Session
from twisted_relay.core.wire import encode
from twisted_relay.engine.client import Client
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.metrics import Metrics


class Wired:
    def __init__(self, members=3, most_unsent=1000):
        self.clock, self.metrics, self.slow = Clock(), Metrics(0.0), []
        self.fanout = Fanout(self.clock, self.metrics, most_unsent, self.slow.append)
        self.rooms = Rooms()
        self.members = [self.member(f"m{number}") for number in range(members)]
        self.room = self.rooms.get("room")

    def member(self, name, room_id="room"):
        client = Client(Connection(), Session(session_limits(), 0.0), 0.0)
        client.member, _ = self.rooms.enter(room_id, None, name, name, name, 1, 0, client)
        return client.member

    def post(self, text, skip=None):
        self.fanout.post(self.room, "APP_MSG", encode("APP_MSG", text, {}), skip)

    def send(self, member, text):
        self.fanout.send(member.client, "PONG", encode("PONG", text, {}))

    def heard(self, member):
        return [frame["id"] for frame in member.client.connection.frames]


def test_every_member_hears_a_post_at_the_end_of_the_turn():
    wired = Wired()
    wired.post("a")
    assert [wired.heard(member) for member in wired.members] == [[], [], []]
    wired.clock.advance(0)
    assert [wired.heard(member) for member in wired.members] == [["a"]] * 3


def test_many_posts_in_a_turn_cost_each_member_one_write():
    wired = Wired()
    for number in range(20):
        wired.post(str(number))
    wired.clock.advance(0)
    assert [member.client.connection.writes for member in wired.members] == [1, 1, 1]
    assert wired.heard(wired.members[0]) == [str(number) for number in range(20)]


def test_a_skipped_member_hears_all_but_that():
    wired = Wired()
    wired.post("a")
    wired.post("b", skip=wired.members[0])
    wired.post("c")
    wired.clock.advance(0)
    assert wired.heard(wired.members[0]) == ["a", "c"]
    assert wired.heard(wired.members[1]) == ["a", "b", "c"]


def test_one_who_is_skipped_by_all_is_not_written_to():
    wired = Wired()
    wired.post("a", skip=wired.members[0])
    wired.clock.advance(0)
    assert wired.members[0].client.connection.writes == 0


def test_what_one_client_hears_alone_comes_after_what_its_room_heard_before():
    wired = Wired()
    wired.post("a")
    wired.send(wired.members[0], "b")
    wired.post("c")
    wired.clock.advance(0)
    assert wired.heard(wired.members[0]) == ["a", "b", "c"]
    assert wired.heard(wired.members[1]) == ["a", "c"]


def test_one_who_comes_later_hears_nothing_of_what_was_let_go_before():
    wired = Wired()
    wired.post("a")
    wired.fanout.flush(wired.room)
    late = wired.member("late")
    wired.post("b")
    wired.clock.advance(0)
    assert wired.heard(late) == ["b"]


def test_a_client_for_which_more_waits_than_is_allowed_is_reported_and_not_written_to():
    wired = Wired(most_unsent=1000)
    wired.members[0].client.connection.unsent = 1001
    wired.post("a")
    wired.clock.advance(0)
    assert wired.slow == [wired.members[0].client]
    assert wired.heard(wired.members[0]) == []
    assert wired.heard(wired.members[1]) == ["a"]


def test_a_client_for_which_exactly_the_bound_waits_is_not_cut():
    wired = Wired(most_unsent=1000)
    wired.members[0].client.connection.unsent = 1000
    wired.post("a")
    wired.clock.advance(0)
    assert wired.slow == []


def test_an_answer_to_a_slow_client_is_no_exception():
    wired = Wired(most_unsent=10)
    wired.members[0].client.connection.unsent = 11
    wired.send(wired.members[0], "a")
    wired.send(wired.members[0], "b")
    wired.clock.advance(0)
    assert wired.slow == [wired.members[0].client]


def test_a_client_that_is_to_be_cut_hears_nothing_more_even_if_it_reads_again():
    wired = Wired(most_unsent=10)
    wired.members[0].client.connection.unsent = 11
    wired.send(wired.members[0], "a")
    wired.members[0].client.connection.unsent = 0
    wired.send(wired.members[0], "b")
    assert wired.heard(wired.members[0]) == []


def test_without_a_bound_nobody_is_cut():
    wired = Wired(most_unsent=None)
    wired.members[0].client.connection.unsent = 10**9
    wired.post("a")
    wired.clock.advance(0)
    assert wired.slow == []


def test_a_room_that_emptied_before_the_end_of_the_turn_is_no_obstacle():
    wired = Wired(members=1)
    wired.post("a")
    wired.rooms.remove(wired.members[0])
    wired.clock.advance(0)
    assert wired.heard(wired.members[0]) == []


def test_what_is_sent_is_counted_by_type_for_each_who_hears_it():
    wired = Wired()
    wired.post("a")
    wired.post("b", skip=wired.members[0])
    wired.send(wired.members[0], "c")
    assert wired.metrics.messages_sent["APP_MSG"] == 5
    assert wired.metrics.messages_sent["PONG"] == 1


def test_bytes_are_counted_as_they_are_written():
    wired = Wired(members=2)
    wired.post("a")
    wired.clock.advance(0)
    assert wired.metrics.bytes_sent == 2 * len(encode("APP_MSG", "a", {}))


def test_rooms_of_one_turn_share_one_timer():
    wired = Wired()
    others = [wired.member("m", f"other-{number}") for number in range(3)]
    wired.post("a")
    for member in others:
        wired.fanout.post(member.room, "APP_MSG", encode("APP_MSG", "b", {}))
    wired.post("c")
    assert len(wired.clock.getDelayedCalls()) == 1
    wired.clock.advance(0)
    assert [wired.heard(member) for member in others] == [["b"]] * 3
    assert wired.heard(wired.members[0]) == ["a", "c"]
    assert wired.clock.getDelayedCalls() == []


def test_a_room_let_go_early_that_hears_more_in_the_same_turn_hears_it_all():
    wired = Wired()
    wired.post("a")
    wired.fanout.flush(wired.room)
    wired.post("b")
    wired.fanout.flush(wired.room)
    wired.post("c")
    wired.clock.advance(0)
    wired.post("d")
    wired.clock.advance(0)
    assert wired.heard(wired.members[0]) == ["a", "b", "c", "d"]


def test_a_bug_met_in_one_room_keeps_nothing_from_the_others():
    wired = Wired()
    bad, good = wired.member("m", "bad"), wired.member("m", "good")

    def write(data):
        raise ZeroDivisionError

    bad.client.connection.write = write
    for member in (bad, good):
        wired.fanout.post(member.room, "APP_MSG", encode("APP_MSG", "a", {}))
    with pytest.raises(ZeroDivisionError):
        wired.clock.advance(0)
    wired.clock.advance(0)
    assert wired.heard(good) == ["a"]
    assert wired.clock.getDelayedCalls() == []
