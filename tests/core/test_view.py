"""How an instance sees a room: wider at once, narrower only as the channel says."""

from twisted_relay.core.rooms import Standing
from twisted_relay.core.view import View


def standing(revision, *leases):
    return Standing(revision, len(leases), frozenset(leases))


def view(revision=1, *leases):
    seen = View("me.1")
    seen.begin(standing(revision, "me.1", *leases))
    return seen


def test_an_instance_whose_lease_is_the_only_one_is_alone():
    assert view().is_alone
    assert not view(1, "a.1").is_alone


def test_earlier_leases_of_this_very_instance_are_nobody_else():
    assert view(1, "me.0").is_alone
    assert not view(1, "me").is_alone
    assert not view(1, "meanwhile.1").is_alone


def test_while_alone_the_stores_answer_is_how_the_room_stands():
    seen = view()
    assert seen.learned(standing(2, "me.1"))
    assert seen.standing.revision == 2


def test_what_the_store_says_of_others_is_believed_at_once():
    seen = view()
    seen.learned(standing(2, "me.1", "a.1"))
    assert not seen.is_alone
    assert not seen.accepts("a.1"), "that is for the channel to say"


def test_what_the_store_says_of_others_end_waits_for_the_channel():
    seen = view(3, "a.1")
    seen.learned(standing(4, "me.1"))
    assert not seen.is_alone
    assert seen.accepts("a.1")
    seen.adopt(standing(4, "me.1"))
    assert seen.is_alone
    assert not seen.accepts("a.1")


def test_an_older_standing_changes_nothing():
    seen = view(5, "a.1")
    assert not seen.learned(standing(5, "me.1"))
    seen.adopt(standing(4, "me.1"))
    assert seen.leases == {"me.1", "a.1"}


def test_the_channel_may_lag_behind_what_the_store_has_answered():
    seen = view(1, "a.1")
    seen.learned(standing(5, "me.1", "b.1"))
    seen.adopt(standing(3, "me.1", "a.1", "c.1"))
    assert seen.leases == {"me.1", "a.1", "b.1", "c.1"}
    assert seen.newest.revision == 5
    seen.adopt(standing(5, "me.1", "b.1"))
    assert seen.leases == {"me.1", "b.1"}


def test_a_lease_of_which_the_channel_said_that_it_ended_is_known_as_that():
    seen = view(1, "a.1")
    seen.adopt(standing(2, "me.1"))
    assert seen.has_ended("a.1")
    assert not seen.has_ended("never-heard-of.1")


def test_all_that_were_there_before_are_asked():
    assert view(3, "a.1", "b.1").unanswered == {"a.1", "b.1"}
    assert view(3).unanswered == set()


def test_only_one_who_knows_the_revision_has_answered():
    seen = view(3, "a.1")
    seen.answered("a.1", 2)
    assert seen.unanswered == {"a.1"}
    assert not seen.answered("a.1", 4)
    assert seen.unanswered == set()


def test_nobody_waits_for_one_whose_lease_has_ended():
    seen = view(3, "a.1", "b.1")
    seen.adopt(standing(4, "me.1", "b.1"))
    assert seen.unanswered == {"b.1"}


def test_one_who_answers_late_is_told_apart():
    seen = view(3, "a.1")
    seen.give_up_waiting()
    assert seen.unanswered == set()
    assert seen.late == {"a.1"}
    assert seen.answered("a.1", 3)
    assert not seen.answered("a.1", 3)


def test_the_end_of_one_who_never_answered_is_a_loss():
    seen = view(3, "a.1")
    seen.give_up_waiting()
    assert seen.adopt(standing(4, "me.1"))
    assert not seen.adopt(standing(5, "me.1"))


def test_a_room_that_does_not_count_this_stay_does_not_know_it():
    seen = view()
    assert seen.is_known
    seen.learned(standing(2, "a.1"))
    assert not seen.is_known


def test_what_the_channel_has_said_since_is_not_undone_by_the_stores_earlier_answer():
    seen = View("me.1")
    seen.adopt(standing(3, "me.1"))
    seen.begin(standing(2, "me.1", "a.1"))
    assert seen.is_alone
    assert seen.unanswered == set()


def test_one_who_took_itself_for_alone_in_a_room_that_counts_only_others_was_apart():
    seen = view()
    seen.adopt(standing(2, "a.1"))
    assert seen.apart
    seen.begin_again("me.2", standing(3, "me.2", "a.1"))
    assert not seen.apart


def test_one_who_was_asked_by_a_newcomer_or_was_not_alone_was_not_apart():
    seen = view()
    seen.learned(standing(2, "me.1", "a.1"))
    seen.adopt(standing(3, "a.1"))
    assert not seen.apart


def test_two_standings_of_one_revision_are_of_a_store_that_has_forgotten_one():
    seen = view(3)
    seen.adopt(standing(3, "a.1"))
    assert not seen.is_known
    assert seen.apart
