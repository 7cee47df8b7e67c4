"""What a room of the embedded store knows of its members always fits together, and stays small."""

from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.engine.interfaces import Entry, Registration
from twisted_relay.engine.memory_room import Room

MEMBERS, HOLDS, LEASES = ["m1", "m2", "m3", "m4"], ["h1", "h2", "h3"], ["l1", "l2", "l3"]
CAPACITY = 3

entries = st.builds(
    Entry,
    st.sampled_from(MEMBERS),
    st.sampled_from(HOLDS),
    st.sampled_from(LEASES),
    generation=st.none() | st.integers(0, 3),
    label_number=st.integers(0, 4),
)
registrations = st.builds(
    Registration,
    st.sampled_from(LEASES),
    st.sampled_from(LEASES),
    st.lists(entries, max_size=4, unique_by=lambda entry: entry.member_id).map(tuple),
    st.integers(0, 30),
    st.integers(0, 30),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("seat"), entries),
        st.tuples(st.just("leave"), st.sampled_from(MEMBERS), st.sampled_from(HOLDS)),
        st.tuples(st.just("renew"), st.sampled_from(LEASES)),
        st.tuples(st.just("reap")),
        st.tuples(st.just("register"), registrations),
    ),
    max_size=30,
)


def take(room, now, step):
    match step:
        case ("seat", entry):
            if entry.member_id in room.seats or len(room.seats) < CAPACITY:
                room.seat(entry, now + 2)
        case ("leave", member_id, hold):
            room.leave(member_id, hold)
        case ("renew", lease):
            room.renew(lease, now + 2)
        case ("reap",):
            room.reap(now)
        case ("register", registration):
            room.register(registration, CAPACITY, now + 2)


@given(steps)
def test_every_seat_is_under_one_lease_and_nothing_else_is_kept(taken):
    room = Room()
    for now, step in enumerate(taken):
        take(room, now, step)
        held = {member_id: seat.lease for member_id, seat in room.seats.items()}
        under = {m: lease for lease, stay in room._stays.items() for m in stay.members}
        assert held == under
        assert all(stay.members for stay in room._stays.values())
        assert room._label_numbers.keys() <= room.seats.keys() <= room._generations.keys()
        assert len(room.seats) <= CAPACITY


@given(steps)
def test_one_revision_means_one_membership_and_none_goes_back(taken):
    room, before = Room(), None
    for now, step in enumerate(taken):
        seats = dict(room.seats)
        take(room, now, step)
        after = room.standing()
        if before is not None:
            assert after.revision >= before.revision
            assert after.revision > before.revision or (after == before and room.seats == seats)
        before = after


@given(steps, registrations)
def test_a_registration_that_is_repeated_changes_nothing(taken, registration):
    room = Room()
    for now, step in enumerate(taken):
        take(room, now, step)
    outcome = room.register(registration, CAPACITY, 99.0)
    standing, seats = room.standing(), dict(room.seats)
    assert room.register(registration, CAPACITY, 99.0) == outcome
    assert (room.standing(), room.seats) == (standing, seats)


def test_members_who_come_and_go_do_not_add_up():
    room = Room()
    room.seat(Entry("first", "hold", "lease"), 0.0)
    for number in range(10_000):
        room.seat(Entry(f"m{number}", "hold", "lease"), 0.0)
        room.leave(f"m{number}", "hold")
    assert len(room._generations) == 4096
    assert room.generation("first") == 0
    assert "first" in room._generations
