"""Who is there, over all instances: told of once when they come, once when they go."""

from twisted_relay.core.bus import Occupant
from twisted_relay.core.roster import Roster

ANN, BEN = Occupant("ann", "Ann", 1), Occupant("ben", "Ben", 2)


def names(occupants):
    return [occupant.label for occupant in occupants]


def test_whoever_is_seen_for_the_first_time_has_come():
    came, gone = Roster().seen("a.1", [ANN, BEN])
    assert (names(came), gone) == (["Ann", "Ben"], [])


def test_whoever_is_seen_again_is_no_news():
    roster = Roster()
    roster.seen("a.1", [ANN])
    assert roster.seen("a.1", [ANN]) == ([], [])


def test_whoever_an_instance_names_no_more_has_gone():
    roster = Roster()
    roster.seen("a.1", [ANN, BEN])
    assert roster.seen("a.1", [BEN]) == ([], ["Ann"])


def test_what_one_instance_does_not_say_is_nothing_about_the_members_of_another():
    roster = Roster()
    roster.seen("a.1", [ANN])
    roster.seen("b.1", [BEN])
    assert roster.seen("a.1", [ANN]) == ([], [])


def test_one_who_moves_to_another_instance_neither_comes_nor_goes():
    roster = Roster()
    roster.seen("a.1", [ANN])
    assert roster.seen("b.1", [Occupant("ann", "Ann", 5)]) == ([], [])
    assert roster.seen("a.1", []) == ([], [])


def test_an_instance_that_does_not_know_yet_takes_nobody_back():
    roster = Roster()
    roster.seen("b.1", [Occupant("ann", "Ann", 5)])
    roster.seen("a.1", [ANN])
    assert roster.seen("a.1", []) == ([], [])


def test_whoever_is_missed_and_comes_back_neither_goes_nor_comes():
    roster = Roster()
    roster.seen("a.1", [ANN])
    roster.miss({"b.1"})
    assert roster.seen("a.2", [ANN]) == ([], [])
    assert roster.give_up() == []


def test_whoever_is_missed_and_does_not_come_back_is_gone_in_the_end():
    roster = Roster()
    roster.seen("a.1", [ANN])
    assert roster.miss({"b.1"})
    assert roster.give_up() == ["Ann"]
    assert not roster.miss({"b.1"})
    assert roster.give_up() == []


def test_an_instance_that_does_not_know_yet_that_somebody_moved_and_went_brings_nobody_back():
    roster = Roster()
    roster.seen("a.1", [ANN])
    roster.seen("b.1", [Occupant("ann", "Ann", 5)])
    assert roster.seen("b.1", []) == ([], ["Ann"])
    assert roster.seen("a.1", [ANN]) == ([], [])
    assert roster.seen("a.1", []) == ([], [])


def test_one_who_was_taken_for_gone_and_is_registered_again_has_come():
    roster = Roster()
    roster.seen("a.1", [ANN])
    roster.miss({"b.1"})
    roster.give_up()
    came, _ = roster.seen("a.2", [ANN])
    assert names(came) == ["Ann"]
