"""Who is there, as it is said to others and told to the members here."""

import pytest

from twisted_relay.core.attendance import Attendance
from twisted_relay.core.bus import Occupant, Presence, Tell
from twisted_relay.core.rooms import Standing
from twisted_relay.core.view import View

ME, OTHER = "me.1", "other.1"
ANN, BEN, CAT = Occupant("ann", "Ann", 1), Occupant("ben", "Ben", 2), Occupant("cat", "Cat", 3)


class Port:
    """Notes what members here are told."""

    def __init__(self):
        self.here = (ANN,)
        self.told = []

    def occupants(self):
        return self.here

    def __getattr__(self, name):
        return lambda *what: self.told.append((name, *what))


class Stage:
    """A room on this instance and another."""

    def __init__(self):
        self.port, self.view = Port(), View(ME)
        self.attendance = Attendance(self.port, self.view)
        self.stands(2, ME, OTHER)
        self.attendance.heard(ME, self.attendance.presence())
        self.told()

    def stands(self, revision, *leases):
        self.view.begin(Standing(revision, 2, frozenset(leases)))

    def hear(self, *occupants, lease=OTHER, revision=2, **flags):
        leases = tuple(self.view.leases)
        self.attendance.heard(lease, Presence(revision, 2, leases, occupants, **flags))
        return self.told()

    def told(self):
        told, self.port.told = self.port.told, []
        return told


@pytest.fixture
def stage():
    return Stage()


def test_a_presence_says_who_is_here_and_how_the_room_stands(stage):
    presence = stage.attendance.presence(asks=True, quiet=("ann",), also=(CAT,))
    assert presence.occupants == (ANN, CAT)
    assert (presence.revision, presence.participants) == (2, 2)
    assert set(presence.leases) == {ME, OTHER}
    assert (presence.asks, presence.apart, presence.tells) == (True, False, Tell.NOT)
    assert presence.quiet == ("ann",)


def test_a_presence_goes_by_the_newest_that_is_known(stage):
    stage.view.learned(Standing(9, 3, frozenset((ME, OTHER, "third.1"))))
    presence = stage.attendance.presence()
    assert (presence.revision, presence.participants, len(presence.leases)) == (9, 3, 3)


def test_comers_and_goers_are_told_once(stage):
    assert ("entered", "Ben") in stage.hear(BEN)
    assert stage.hear(BEN) == [("replaced", BEN)]
    assert stage.hear() == [("left", "Ben")]
    assert stage.hear() == []


def test_one_who_came_back_is_not_announced(stage):
    assert ("entered", "Ben") not in stage.hear(BEN, quiet=("ben",))


@pytest.mark.parametrize(
    ("tells", "told"),
    [
        (Tell.NOT, []),
        (Tell.IF_NEWS, [("count", 2, False)]),
        (Tell.ALWAYS, [("count", 2, True)]),
    ],
)
def test_the_count_is_told_as_the_presence_says(stage, tells, told):
    assert [one for one in stage.hear(tells=tells) if one[0] == "count"] == told


def test_a_seat_that_is_held_elsewhere_is_told_and_ones_own_is_not(stage):
    assert ("replaced", BEN) in stage.hear(BEN)
    assert not any(name == "replaced" for name, *_ in stage.hear(ANN, lease=ME))


def test_an_ended_lease_says_nothing_of_its_members_any_more(stage):
    stage.hear(BEN)
    stage.stands(3, ME)
    assert stage.hear(BEN, CAT) == [("missing",)]
    # Its last word is as new as what the channel says.
    assert ("left", "Ben") not in stage.hear(CAT, revision=3)


def test_members_of_an_ended_lease_are_gone_unless_they_are_seen_in_time(stage):
    stage.hear(BEN, CAT)
    stage.stands(3, ME, "third.1")
    moved = Occupant("ben", "Ben", 3)
    assert stage.hear(moved, lease="third.1", revision=3) == [("missing",), ("replaced", moved)]
    stage.attendance.give_up_missed()
    assert stage.told() == [("left", "Cat")]


def test_others_are_missed_when_the_store_has_lost_the_room(stage):
    stage.hear(BEN)
    stage.view.begin_again("me.2", Standing(5, 1, frozenset(("me.2",))))
    stage.attendance.miss_others()
    assert stage.told() == []
    stage.attendance.give_up_missed()
    assert sorted(stage.told()) == [("left", "Ann"), ("left", "Ben")]
