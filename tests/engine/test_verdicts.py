"""Each checker of transcripts accepts what is in order, and complains of what is not."""

import pytest
import verdicts
from verdicts import CAME, Sent, Transcript


def frame(kind, id="served01", re=None, **body):
    return {"v": 1, "t": kind, "id": id, "body": body} | ({"re": re} if re else {})


class Writer:
    """Writes a transcript by hand, one second for each entry unless told otherwise."""

    clock = 0.0

    def __init__(self, name):
        self.transcript = Transcript(name)
        self.name = name

    def sends(self, kind, id):
        Writer.clock += 1
        self.transcript.sent.append(Sent(Writer.clock, kind, id, "room"))
        return self

    def hears(self, kind, *args, **body):
        Writer.clock += 1
        self.transcript.heard.append((Writer.clock, frame(kind, *args, **body)))
        return self

    def joins(self, resumed=False):
        self.sends("JOIN_REQUEST", f"join-{self.name}")
        return self.hears(
            "JOINED",
            "served01",
            f"join-{self.name}",
            roomId="room",
            memberId=f"m-{self.name}",
            label=self.name,
            resumed=resumed,
        )

    def hears_of(self, who, *ids):
        for id in ids:
            self.hears("APP_MSG", id, memberId=f"m-{who.name}")
        return self

    def stats(self, count):
        return self.hears("ROOM_STATS", participants=count)

    def told(self, text):
        return self.hears("SYSTEM_MSG", text=text)

    def ends(self):
        Writer.clock += 1
        self.transcript.ended = Writer.clock
        return self


@pytest.fixture
def ann():
    return Writer("ann").joins()


@pytest.fixture
def bob():
    return Writer("bob").joins()


@pytest.fixture
def cyd():
    return Writer("cyd").joins()


def transcripts(*writers):
    return [writer.transcript for writer in writers]


def told_of(complaints, promise):
    assert complaints
    assert all(complaint.startswith(promise) for complaint in complaints)
    return True


def holes(*writers, bound=1000.0):
    return verdicts.no_silent_hole(
        transcripts(*writers), lambda a, b: max(0.0, b - a), bound, Writer.clock + 5000
    )


def test_a_message_heard_twice(ann, bob):
    ann.sends("APP_MSG", "one")
    bob.hears_of(ann, "one")
    assert not verdicts.at_most_once(transcripts(ann, bob))
    bob.hears_of(ann, "one")
    assert told_of(verdicts.at_most_once(transcripts(ann, bob)), "at most once")


def test_an_ack_is_the_senders_copy_of_its_media(ann, bob):
    ann.sends("MEDIA_MSG", "pic").hears("ACK", "served02", "pic")
    bob.hears("MEDIA_MSG", "pic", memberId="m-ann")
    assert not verdicts.at_most_once(transcripts(ann, bob))
    ann.hears("MEDIA_MSG", "pic", memberId="m-ann")
    assert told_of(verdicts.at_most_once(transcripts(ann, bob)), "at most once")


def test_the_same_id_of_two_members_is_two_messages(ann, bob):
    bob.hears_of(ann, "one").hears_of(bob, "one")
    assert not verdicts.at_most_once(transcripts(ann, bob))


def test_two_hear_two_messages_in_two_orders(ann, bob):
    ann.hears_of(ann, "one").hears_of(bob, "two")
    bob.hears_of(ann, "one").hears_of(bob, "two")
    assert not verdicts.one_order(transcripts(ann, bob))
    cyd = Writer("cyd").joins().hears_of(bob, "two").hears_of(ann, "one")
    assert told_of(verdicts.one_order(transcripts(ann, bob, cyd)), "one order")


def test_the_ack_has_its_place_in_the_order(ann, bob):
    ann.sends("MEDIA_MSG", "pic").hears("ACK", "served02", "pic").hears_of(bob, "two")
    bob.hears_of(bob, "two").hears("MEDIA_MSG", "pic", memberId="m-ann")
    assert told_of(verdicts.one_order(transcripts(ann, bob)), "one order")


def test_three_hear_pairs_that_fit_no_order_together(ann, bob, cyd):
    ann.hears_of(ann, "one").hears_of(bob, "two")
    bob.hears_of(bob, "two").hears_of(cyd, "three")
    assert not verdicts.one_order(transcripts(ann, bob, cyd))
    cyd.hears_of(cyd, "three").hears_of(ann, "one")
    assert told_of(verdicts.one_order(transcripts(ann, bob, cyd)), "one order")


def test_a_senders_order_is_turned_round_for_all(ann, bob):
    ann.sends("APP_MSG", "one").sends("APP_MSG", "two")
    bob.hears_of(ann, "one", "two")
    assert not verdicts.own_order_kept(transcripts(ann, bob))
    cyd = Writer("cyd").joins().hears_of(ann, "two", "one")
    assert told_of(verdicts.own_order_kept(transcripts(ann, cyd)), "own order")


def test_a_hole_between_two_messages(ann, bob):
    ann.sends("APP_MSG", "one").sends("APP_MSG", "two").sends("APP_MSG", "three")
    ann.hears_of(ann, "one", "two", "three")
    bob.hears_of(ann, "one", "three")
    assert told_of(holes(ann, bob), "silent hole")
    bob.hears("GAP", roomId="room")
    assert not holes(ann, bob)


def test_a_gap_before_the_hole_does_not_excuse_it(ann, bob):
    ann.sends("APP_MSG", "one").sends("APP_MSG", "two").hears_of(ann, "one", "two")
    bob.hears("GAP", roomId="room").hears_of(ann, "one")
    assert told_of(holes(ann, bob), "silent hole")


def test_a_gap_before_the_message_was_sent_does_not_excuse_its_loss(ann, bob):
    bob.hears("GAP", roomId="room")
    ann.sends("APP_MSG", "one").hears_of(ann, "one")
    assert told_of(holes(ann, bob), "silent hole")


def test_a_gap_or_an_end_that_comes_too_late_excuses_nothing(ann, bob, cyd):
    ann.sends("APP_MSG", "one").hears_of(ann, "one")
    bob.hears("GAP", roomId="room")
    cyd.ends()
    assert not holes(ann, bob, cyd)
    Writer.clock += 100
    late = Writer("dan").joins()
    ann.sends("APP_MSG", "two").hears_of(ann, "two")
    bob.hears_of(ann, "two")
    Writer.clock += 100
    late.hears("GAP", roomId="room")
    assert not holes(ann, bob, late, bound=500)
    assert told_of(holes(ann, bob, late, bound=50), "silent hole")
    late.transcript.heard.pop()
    late.ends()
    assert not holes(ann, bob, late, bound=500)
    assert told_of(holes(ann, bob, late, bound=50), "silent hole")


def test_what_was_heard_before_one_joined_is_no_hole(ann):
    ann.sends("APP_MSG", "one").hears_of(ann, "one")
    bob = Writer("bob").joins()
    assert not holes(ann, bob)
    ann.sends("APP_MSG", "two").hears_of(ann, "two")
    assert told_of(holes(ann, bob), "silent hole")


def test_a_hole_that_only_the_order_shows(ann):
    """Heard early by the quick, it still belongs between two that the newcomer heard."""
    ann.sends("APP_MSG", "one").sends("APP_MSG", "two").sends("APP_MSG", "three")
    ann.hears_of(ann, "one", "two", "three")
    bob = Writer("bob").joins().hears_of(ann, "one", "three")
    assert told_of(holes(ann, bob), "silent hole")


def test_a_hole_after_the_others_were_told_that_one_came(ann):
    ann.sends("APP_MSG", "one")
    bob = Writer("bob").joins()
    ann.hears_of(ann, "one")
    assert not holes(ann, bob)  # it was on its way before, and has its place before
    ann.sends("APP_MSG", "two")
    cyd = Writer("cyd").joins()
    bob.told(CAME + "cyd").hears_of(ann, "two")
    assert told_of(holes(ann, bob, cyd), "silent hole")


def test_ones_own_words_and_ones_own_members_media_are_no_hole(ann, bob):
    ann.sends("APP_MSG", "one").sends("MEDIA_MSG", "pic")
    again = Writer("ann").joins(resumed=True)
    bob.hears_of(ann, "one").hears("MEDIA_MSG", "pic", memberId="m-ann")
    again.hears_of(ann, "one")
    assert not holes(ann, again, bob)
    cyd = Writer("cyd").joins()
    ann.sends("APP_MSG", "two")
    bob.hears_of(ann, "two")
    assert not holes(ann, again, bob)
    assert told_of(holes(ann, bob, cyd), "silent hole")


def test_what_only_those_outside_heard_who_never_found_out_is_known_to_nobody(ann, bob):
    ann.sends("APP_MSG", "one").hears_of(ann, "one")
    assert told_of(holes(ann, bob), "silent hole")
    ann.transcript.outside.add(len(ann.transcript.heard) - 1)
    assert not holes(ann, bob)
    ann.hears("GAP", roomId="room")
    assert told_of(holes(ann, bob), "silent hole")


def test_what_ones_own_member_said_on_a_connection_that_was_over_before_counts(ann, bob):
    ann.sends("APP_MSG", "one").sends("APP_MSG", "two").sends("APP_MSG", "three").ends()
    again = Writer("ann").joins(resumed=True).hears_of(ann, "one", "three")
    bob.hears_of(ann, "one", "two", "three")
    assert told_of(holes(ann, again, bob), "silent hole")


def test_answers_in_order(ann):
    ann.sends("PING", "p1").sends("APP_MSG", "one").sends("LEAVE", "l1")
    ann.hears("PONG", "served02", "p1").hears_of(ann, "one")
    assert not verdicts.answers_in_order(transcripts(ann), complete=False)
    assert told_of(verdicts.answers_in_order(transcripts(ann), complete=True), "answers")
    ann.hears("LEFT", "served03", "l1")
    assert not verdicts.answers_in_order(transcripts(ann), complete=True)


def test_an_answer_out_of_order_one_left_out_and_two_answers(ann, bob, cyd):
    ann.sends("APP_MSG", "one").sends("PING", "p1")
    ann.hears("PONG", "served02", "p1").hears_of(ann, "one")
    assert told_of(verdicts.answers_in_order(transcripts(ann), complete=False), "answers")
    bob.sends("APP_MSG", "one").sends("PING", "p1").hears("PONG", "served02", "p1")
    assert told_of(verdicts.answers_in_order(transcripts(bob), complete=False), "answers")
    cyd.sends("APP_MSG", "one").hears("ERROR", "served02", "one", code="ERR_UNAVAILABLE")
    assert not verdicts.answers_in_order(transcripts(cyd), complete=True)
    cyd.hears_of(cyd, "one")
    assert told_of(verdicts.answers_in_order(transcripts(cyd), complete=True), "answers")


def test_one_whose_connection_is_over_waits_for_nothing(ann):
    ann.sends("APP_MSG", "one").ends()
    assert not verdicts.answers_in_order(transcripts(ann), complete=True)


def test_trouble_told(ann, bob):
    assert not verdicts.no_trouble_told(transcripts(ann, bob))
    ann.hears("ERROR", code="ERR_ROOM_FULL")
    assert not verdicts.no_trouble_told(transcripts(ann), ["ERR_ROOM_FULL"])
    assert told_of(verdicts.no_trouble_told(transcripts(ann)), "no trouble")
    bob.hears("GAP", roomId="room")
    assert told_of(verdicts.no_trouble_told(transcripts(bob)), "no trouble")


def test_a_count_that_is_not_true(ann, bob, cyd):
    ann.stats(1).stats(2)
    bob.stats(2).stats(1)
    told = verdicts.counts_told(transcripts(ann), lambda room_id: 2)
    assert not told
    assert told_of(verdicts.counts_told(transcripts(ann, bob), lambda room_id: 2), "counts")
    assert told_of(verdicts.counts_told(transcripts(cyd), lambda room_id: 2), "counts")
    assert not verdicts.counts_told(transcripts(bob.ends()), lambda room_id: 2)


@pytest.mark.parametrize(
    ("events", "here", "fits"),
    [
        ([CAME + "Dan"], {"Dan"}, True),
        ([CAME + "Dan", "Dan has left the chat"], set(), True),
        (["Dan has left the chat"], set(), True),
        ([CAME + "Dan"], set(), False),
        (["Dan has left the chat"], {"Dan"}, False),
        ([CAME + "Dan", CAME + "Dan"], {"Dan"}, False),
        (["Dan has left the chat", "Dan has left the chat"], set(), False),
    ],
)
def test_a_roster(ann, events, here, fits):
    for text in events:
        ann.told(text)
    complaints = verdicts.roster_told(transcripts(ann), lambda room_id: here, {"Dan"})
    assert not complaints if fits else told_of(complaints, "roster")
    assert not verdicts.roster_told(transcripts(ann), lambda room_id: here, set())
