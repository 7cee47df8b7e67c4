"""What is on its way, and what has been heard: nothing is left out, nothing comes twice."""

from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.bus import Message, Shown
from twisted_relay.core.port import Said
from twisted_relay.core.stream import Incoming, Outgoing


def said(text, size=10):
    return Said(Message("APP_MSG", "", text.encode().ljust(size)), text)


def texts(batch):
    return [one.speaker for one in batch]


def sent(*turns):
    """An outgoing stream that published these texts, an envelope for each turn."""
    outgoing = Outgoing()
    for turn in turns:
        for text in turn:
            outgoing.add(said(text))
        assert texts(outgoing.next_batch()) == list(turn)
    return outgoing


# Outgoing


def test_only_the_first_of_a_turn_asks_for_its_end():
    outgoing = Outgoing()
    assert [outgoing.add(said(text)) for text in "abc"] == [True, False, False]
    outgoing.next_batch()
    assert outgoing.add(said("d"))


def test_what_is_said_in_a_turn_is_one_batch_with_the_next_number():
    outgoing = sent("abc")
    assert outgoing.sequence == 1
    assert outgoing.next_batch() == []
    assert outgoing.sequence == 1


def test_very_much_is_several_batches():
    outgoing = Outgoing()
    for text in "abcde":
        outgoing.add(said(text, 100_000))
    outgoing.add(Said(Shown("qr", 1)))
    batches = [texts(outgoing.next_batch()) for _ in range(3)]
    assert batches == [["a", "b", "c"], ["d", "e", None], []]


def test_what_comes_back_is_on_its_way_no_more():
    outgoing = sent("ab", "c")
    assert [(one.speaker, back) for one, back in outgoing.came_back(1)] == [
        ("a", True),
        ("b", True),
    ]
    assert outgoing.is_in_flight
    assert [one.speaker for one, _ in outgoing.came_back(2)] == ["c"]
    assert not outgoing.is_in_flight


def test_what_was_passed_over_did_not_come_back():
    outgoing = sent("a", "b", "c")
    assert [back for _, back in outgoing.came_back(2)] == [False, True]


def test_what_was_given_up_meanwhile_does_not_come_back_too():
    outgoing = sent("abc")
    found = []
    for one, _ in outgoing.came_back(1):
        found.append(one.speaker)
        while outgoing.is_in_flight:
            found.append(outgoing.take_first().speaker)
    assert found == ["a", "b", "c"]


def test_the_longest_in_flight_is_taken_first_and_what_is_still_due_last():
    outgoing = sent("ab", "c")
    outgoing.add(said("d"))
    taken = []
    while outgoing.is_in_flight:
        taken.append(outgoing.take_first().speaker)
    assert taken == ["a", "b", "c", "d"]


def test_a_mark_is_reached_by_what_was_said_before_it_and_not_by_what_came_later():
    outgoing = sent("a")
    outgoing.add(said("b"))
    mark = outgoing.mark
    outgoing.next_batch()
    outgoing.add(said("c"))
    outgoing.next_batch()
    reached = []
    for sequence in (1, 2, 3):
        reached.append(outgoing.has_come_back(mark))
        list(outgoing.came_back(sequence))
    assert reached == [False, False, True]


def test_a_mark_behind_what_waits_is_not_reached_while_it_waits():
    outgoing = Outgoing()
    assert outgoing.has_come_back(outgoing.mark)
    outgoing.waiting.append(said("a"))
    mark = outgoing.mark
    assert not outgoing.has_come_back(mark)
    outgoing.add(outgoing.waiting.popleft())
    assert not outgoing.has_come_back(mark)
    outgoing.next_batch()
    assert not outgoing.has_come_back(mark)
    list(outgoing.came_back(1))
    assert outgoing.has_come_back(mark)


# Incoming


def test_of_a_stream_that_was_never_heard_nothing_is_missing():
    assert Incoming().missing_before("a.1", 17) == 0


@given(st.lists(st.integers(1, 30), min_size=1))
def test_each_number_is_heard_once_and_each_that_is_left_out_is_counted(numbers):
    incoming, heard, missing = Incoming(), [], 0
    for number in numbers:
        before = incoming.missing_before("a.1", number)
        if before is not None:
            heard.append(number)
            missing += before
    assert heard == sorted(set(heard))
    assert heard[-1] == max(numbers)
    assert heard[-1] - heard[0] + 1 == len(heard) + missing


def test_streams_have_numbers_of_their_own():
    incoming = Incoming()
    incoming.missing_before("a.1", 5)
    assert incoming.missing_before("b.1", 5) == 0
    assert incoming.missing_before("a.1", 5) is None


def test_streams_of_leases_that_are_gone_are_forgotten():
    incoming = Incoming()
    for lease in ("a.1", "b.1", "c.1"):
        incoming.missing_before(lease, 5)
    incoming.keep({"b.1", "d.1"})
    assert len(incoming) == 1
    assert incoming.missing_before("b.1", 7) == 1
    incoming.clear()
    assert incoming.missing_before("b.1", 17) == 0
