"""What one instance does with a room: hands out, publishes, holds back or refuses, and in which
order. The port notes what it is asked; the channel is played by hand."""

from twisted_relay.core.bus import Envelope, Message, Occupant, Presence, Shown, Tell
from twisted_relay.core.port import Said
from twisted_relay.core.rooms import Standing
from twisted_relay.core.span import Span

ME, OTHER = "me.1", "other.1"


class Port:
    """Notes what is asked of it, in order."""

    def __init__(self):
        self.here = [Occupant("ann", "Ann", 1)]
        self.log = []
        self.published = []
        self.can_publish = True
        self.doubts = 0

    def occupants(self):
        return tuple(self.here)

    def publish(self, envelope):
        if self.can_publish:
            self.published.append(envelope)
        return self.can_publish

    def wake(self):
        self.log.append(("wake",))

    def hand_out(self, message):
        self.log.append(("heard", message.frame))

    def settle(self, said, handed):
        self.log.append(("settled" if handed else "refused", said.speaker))

    def show(self, shown):
        self.log.append(("shown", shown.id))

    def entered(self, label):
        self.log.append(("entered", label))

    def left(self, label):
        self.log.append(("left", label))

    def missing(self):
        self.log.append(("missing",))

    def count(self, participants, anyway):
        self.log.append(("count", participants, anyway))

    def replaced(self, occupant):
        self.log.append(("replaced", occupant.member_id))

    def gap(self):
        self.log.append(("gap",))

    def doubt(self):
        self.doubts += 1

    def changed(self):
        pass


class Room:
    """A span with its port, and the channel."""

    def __init__(self, *others, revision=1):
        self.port = Port()
        self.span = Span(self.port, ME, linked=True)
        self.span.begin(standing(revision, ME, *others))
        self.sequences = {}
        self.said = 0
        if others:
            self.span.flush()

    def say(self, text):
        self.span.say(Said(Message("APP_MSG", "", text.encode()), text))

    def turn(self):
        """The turn ends, and what was published comes back."""
        self.span.flush()
        self.echo()

    def echo(self):
        published, self.port.published = self.port.published, []
        for envelope in published:
            self.span.heard(envelope)

    def hear(self, *items, lease=OTHER, sequence=None):
        number = sequence or self.sequences.get(lease, 0) + 1
        self.sequences[lease] = number
        self.span.heard(Envelope(lease, number, items))

    def presence(self, revision, *leases, occupants=(), **flags):
        return Presence(revision, 2, leases, occupants, **flags)

    def took(self, *kinds):
        """What was asked of the port since, of these kinds; then forgotten."""
        found = [entry for entry in self.port.log if not kinds or entry[0] in kinds]
        self.port.log.clear()
        return found


def standing(revision, *leases):
    return Standing(revision, 2, frozenset(leases))


def message(text):
    return Message("APP_MSG", "", text.encode())


def spanning():
    """A room on two instances, the other one having answered."""
    room = Room(OTHER)
    room.echo()
    room.hear(room.presence(1, ME, OTHER, occupants=(Occupant("ben", "Ben", 1),)))
    room.took()
    return room


# Alone


def test_alone_a_message_is_handed_out_at_once_and_never_published():
    room = Room()
    assert room.span.local
    room.say("a")
    room.turn()
    assert room.took("heard", "settled") == [("heard", b"a"), ("settled", "a")]
    assert room.port.published == []


# From one instance to two


def test_who_comes_to_others_asks_them_and_is_established_by_the_last_answer():
    room = Room("a.1", "b.1", revision=3)
    (asked,) = room.port.published
    assert asked.items[0].asks
    assert not room.span.is_established
    room.hear(room.presence(3, ME, "a.1", "b.1"), lease="a.1")
    assert not room.span.is_established
    room.hear(room.presence(3, ME, "a.1", "b.1"), lease="b.1")
    assert room.span.is_established


def test_an_answer_of_one_who_does_not_know_of_this_stay_is_none():
    room = Room(OTHER, revision=3)
    room.hear(room.presence(2, OTHER))
    assert not room.span.is_established


def test_one_who_is_asked_answers_and_publishes_from_then_on():
    room = Room()
    room.say("before")
    room.hear(room.presence(2, ME, OTHER, asks=True))
    room.say("after")
    assert room.took("heard") == [("heard", b"before")]
    room.span.flush()
    (envelope,) = room.port.published
    answer, said = envelope.items
    assert isinstance(answer, Presence)
    assert answer.revision == 2
    assert said == message("after")
    room.echo()
    assert room.took("heard", "settled") == [("heard", b"after"), ("settled", "after")]


def test_one_who_does_not_answer_keeps_nobody_out_and_its_answer_ends_a_hole():
    room = Room(OTHER)
    room.span.give_up_waiting()
    assert room.span.is_established
    assert room.span.view.late == {OTHER}
    room.hear(room.presence(1, ME, OTHER))
    assert room.took("gap") == [("gap",)]


def test_others_that_the_store_tells_of_are_published_to_at_once():
    room = Room()
    room.span.learned(standing(2, ME, OTHER))
    room.say("a")
    assert room.took("heard") == []
    room.turn()
    assert room.took("heard") == [("heard", b"a")]


# Spanning


def test_all_that_is_said_in_a_turn_is_published_at_once_and_handed_out_when_it_comes_back():
    room = spanning()
    room.say("a")
    room.say("b")
    room.span.flush()
    assert len(room.port.published) == 1
    assert room.took("heard", "settled") == []
    room.echo()
    assert room.took("heard", "settled") == [
        ("heard", b"a"), ("settled", "a"), ("heard", b"b"), ("settled", "b"),
    ]  # fmt: skip


def test_very_much_is_published_in_pieces_that_come_back_in_order():
    room = spanning()
    for text in "abc":
        room.say(text * 200_000)
    room.span.flush()
    assert len(room.port.published) == 2
    room.echo()
    assert [frame[:1] for _, frame in room.took("heard")] == [b"a", b"b", b"c"]


def test_the_words_of_others_come_in_the_order_of_the_channel():
    room = spanning()
    room.say("mine")
    room.span.flush()
    room.hear(message("first"))
    room.echo()
    room.hear(message("last"))
    assert [frame for _, frame in room.took("heard")] == [b"first", b"mine", b"last"]


def test_what_is_heard_twice_is_handed_out_once():
    room = spanning()
    room.hear(message("a"), sequence=7)
    room.hear(message("a"), sequence=7)
    assert len(room.took("heard")) == 1


def test_a_missing_number_is_a_hole():
    room = spanning()
    room.hear(message("a"), sequence=7)
    room.took()
    room.hear(message("c"), sequence=9)
    assert room.took("gap", "heard") == [("gap",), ("heard", b"c")]


def test_the_words_of_a_lease_that_ended_are_handed_out_by_nobody():
    room = spanning()
    room.hear(room.presence(2, ME, tells=Tell.ALWAYS))
    room.hear(message("too late"))
    assert room.took("heard", "gap") == []


def test_the_words_of_a_lease_that_was_never_heard_of_may_be_heard_elsewhere():
    room = spanning()
    room.hear(message("whose?"), lease="stranger.1")
    assert room.took("heard", "gap") == [("gap",)]


def test_without_a_channel_a_message_is_refused():
    room = spanning()
    room.span.cut()
    room.say("a")
    assert room.took("refused", "heard") == [("refused", "a")]


def test_what_was_on_its_way_when_the_channel_was_lost_is_refused_once():
    room = spanning()
    room.say("a")
    room.span.flush()
    room.say("b")
    room.span.cut()
    assert room.took("refused") == [("refused", "a"), ("refused", "b")]
    room.echo()
    assert room.took("refused", "heard", "settled") == []


def test_what_could_not_be_published_is_refused_and_its_number_not_used_again():
    room = spanning()
    room.port.can_publish = False
    room.say("a")
    room.span.flush()
    assert room.took("refused") == [("refused", "a")]
    room.port.can_publish = True
    room.say("b")
    room.span.flush()
    assert room.port.published[0].sequence == 3


# From two to one


def test_alone_again_a_message_waits_for_what_is_on_its_way():
    room = spanning()
    room.say("a")
    room.span.flush()
    room.hear(room.presence(2, ME))
    room.say("b")
    assert room.took("heard") == []
    assert not room.span.local
    room.echo()
    assert [frame for _, frame in room.took("heard")] == [b"a", b"b"]
    assert room.span.local


def test_what_waits_is_published_if_somebody_comes_meanwhile():
    room = spanning()
    room.say("a")
    room.span.flush()
    room.hear(room.presence(2, ME))
    room.say("b")
    room.hear(room.presence(3, ME, "third.1", asks=True), lease="third.1")
    room.echo()
    assert [frame for _, frame in room.took("heard")] == [b"a"]
    room.turn()
    assert [frame for _, frame in room.took("heard")] == [b"b"]


def test_alone_again_without_a_channel_what_was_on_its_way_is_handed_out():
    room = spanning()
    room.say("a")
    room.span.flush()
    room.hear(room.presence(2, ME))
    room.span.cut()
    assert room.took("heard", "refused") == [("heard", b"a")]


# Who is there


def test_members_elsewhere_are_told_of_when_they_come_and_when_they_go():
    room = spanning()
    zoe = Occupant("zoe", "Zoe", 2)
    ben = Occupant("ben", "Ben", 1)
    room.hear(room.presence(2, ME, OTHER, occupants=(ben, zoe), tells=Tell.ALWAYS))
    assert room.took("entered", "count") == [("entered", "Zoe"), ("count", 2, True)]
    room.hear(room.presence(3, ME, OTHER, occupants=(zoe,), tells=Tell.ALWAYS))
    assert room.took("left", "count") == [("left", "Ben"), ("count", 2, True)]


def test_one_who_comes_back_is_counted_and_not_announced():
    room = spanning()
    zoe = Occupant("zoe", "Zoe", 2)
    room.hear(room.presence(2, ME, OTHER, occupants=(zoe,), quiet=("zoe",), tells=Tell.ALWAYS))
    assert room.took("entered", "count") == [("count", 2, True)]


def test_a_seat_that_is_held_elsewhere_is_told_to_the_instance():
    room = spanning()
    room.hear(room.presence(2, ME, OTHER, occupants=(Occupant("ann", "Ann", 2),)))
    assert ("replaced", "ann") in room.took("replaced")


def test_members_of_an_instance_that_was_reaped_are_gone_a_moment_later():
    room = spanning()
    room.hear(room.presence(2, ME, "third.1", tells=Tell.IF_NEWS), lease="third.1")
    assert room.took("left", "missing") == [("missing",)]
    room.span.give_up_missed()
    assert room.took("left") == [("left", "Ben")]


def test_a_qr_token_is_shown_where_it_is_heard():
    room = spanning()
    room.span.say(Said(Shown("jti", 9)))
    assert room.took("shown") == []
    room.turn()
    room.hear(Shown("next", 10))
    assert room.took("shown") == [("shown", "jti"), ("shown", "next")]


# Doubt


def test_an_instance_that_is_missing_from_the_room_is_in_doubt():
    room = spanning()
    room.hear(room.presence(2, OTHER))
    assert room.port.doubts
    room.say("a")
    room.turn()
    assert room.took("refused", "heard") == [("refused", "a")]


def test_one_without_members_has_nothing_to_doubt():
    room = spanning()
    room.port.here = []
    room.hear(room.presence(2, OTHER))
    assert not room.port.doubts


def test_what_is_said_in_doubt_is_said_after_the_new_presence():
    room = spanning()
    room.span.hold()
    room.say("a")
    room.span.begin_again("me.2", standing(2, "me.2", OTHER), apart=False)
    room.span.flush()
    (envelope,) = room.port.published
    assert envelope.lease == "me.2"
    assert envelope.items[0].asks
    assert envelope.items[1] == message("a")


def test_members_are_told_a_gap_as_each_of_the_others_answers_a_registration():
    room = spanning()
    room.span.hold()
    room.span.begin_again("me.2", standing(2, "me.2", OTHER), apart=False)
    room.took()
    room.hear(room.presence(2, "me.2", OTHER))
    assert room.took("gap") == [("gap",)]


def test_one_that_was_apart_has_others_tell_their_members_a_gap():
    room = spanning()
    room.hear(room.presence(2, ME, "other.2", asks=True, apart=True), lease="other.2")
    assert room.took("gap") == [("gap",)]


def test_registering_does_not_go_back_behind_what_was_heard_meanwhile():
    room = spanning()
    room.span.hold()
    room.hear(room.presence(9, "me.2", OTHER, "third.1"), lease="third.1")
    room.span.begin_again("me.2", standing(8, "me.2", OTHER), apart=False)
    assert room.span.view.newest.revision == 9
    assert room.span.view.unanswered == {OTHER, "third.1"}


def test_what_waits_in_doubt_goes_on_alone_when_nothing_has_changed():
    room = Room()
    room.span.hold()
    room.say("a")
    assert room.took("heard") == []
    room.span.release()
    assert room.took("heard", "settled") == [("heard", b"a"), ("settled", "a")]
    assert room.span.local


def test_who_is_here_is_said_as_it_is_when_it_is_said():
    room = spanning()
    room.span.hold()
    room.span.announce(Tell.ALWAYS)
    room.port.here = []
    room.span.begin_again("me.2", standing(2, "me.2", OTHER), apart=False)
    room.span.flush()
    for item in room.port.published[0].items:
        assert item.occupants == ()


def test_news_that_only_a_renewal_brought_are_passed_on():
    room = spanning()
    room.span.renewed(standing(2, ME))
    room.span.flush()
    (envelope,) = room.port.published
    assert envelope.items[0].revision == 2
    assert not room.span.view.is_alone, "that is for the channel to say"
    room.echo()
    assert room.span.view.is_alone


def test_what_waits_has_its_turn_after_all_that_is_given_up():
    room = spanning()
    room.span.announce(Tell.ALWAYS)
    room.say("a")
    room.span.flush()
    room.hear(room.presence(2, ME))
    room.say("b")
    assert room.took("heard") == []
    room.span.cut()
    assert [frame for _, frame in room.took("heard")] == [b"a", b"b"]
