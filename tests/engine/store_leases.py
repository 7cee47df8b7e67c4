"""What any room store must do about standings, holds and leases; a part of the contract."""

from store_case import CAPACITY, GRACE, LEASE, StoreCase

from twisted_relay.core.errors import Code
from twisted_relay.engine.interfaces import Standing


class LeaseTests(StoreCase):
    # Standings

    async def test_a_new_room_stands_at_revision_1_under_its_creators_lease(self):
        store = await self.store()
        _, creator, seat, _ = await self.room(store)
        assert seat.standing == Standing(1, 1, frozenset({creator.lease}))
        assert (seat.first, seat.taken_from) == (True, None)

    async def test_each_change_of_the_membership_counts_one_revision(self):
        store = await self.store()
        room_id, guest = self.name("room"), self.newcomer()
        await store.create(room_id, self.name("address"), None, None)
        back = self.returning(guest, 1)
        assert (await store.join(room_id, guest)).standing.revision == 1
        assert (await store.join(room_id, self.newcomer())).standing.revision == 2
        assert (await store.join(room_id, back)).standing.revision == 3
        assert (await self.leave(store, room_id, back)).revision == 4

    async def test_what_changes_no_membership_counts_no_revision(self):
        store = await self.store(max_participants=2)
        room_id, creator, _, qr = await self.room(store)
        guest = self.newcomer("spent")
        await store.join(room_id, guest)
        await store.exists(room_id)
        await store.rotate_qr(room_id, self.qr(), qr.id)
        await self.refusal(store.join(room_id, self.newcomer("spent")))
        await self.refusal(store.join(room_id, self.newcomer()))
        await store.leave(room_id, guest.member_id, creator.hold, True)
        assert (await store.renew(room_id, guest.lease)).revision == 2

    async def test_a_room_that_became_empty_goes_on_counting(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        assert (await store.join(room_id, self.returning(creator, 1))).standing.revision == 3

    # Who is where

    async def test_the_leases_are_those_that_have_members(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        guest = self.newcomer()
        seat = await store.join(room_id, guest)
        assert seat.standing.leases == {creator.lease, guest.lease}
        assert (await self.leave(store, room_id, creator)).leases == {guest.lease}

    async def test_the_members_of_one_lease_share_it(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        guest = self.newcomer(lease=creator.lease)
        seat = await store.join(room_id, guest)
        assert not seat.first
        assert seat.standing.leases == {creator.lease}
        left = await self.leave(store, room_id, creator)
        assert (left.participants, left.leases) == (1, {creator.lease})
        assert (await self.leave(store, room_id, guest)).leases == frozenset()

    async def test_a_lease_comes_first_again_when_all_its_members_had_left(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        guest = self.newcomer()
        await store.join(room_id, guest)
        await self.leave(store, room_id, creator)
        again = await store.join(room_id, self.newcomer(lease=creator.lease))
        assert again.first

    async def test_a_seat_taken_back_from_another_lease_names_it(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        back = self.returning(creator, 1)
        seat = await store.join(room_id, back)
        assert (seat.first, seat.taken_from) == (True, creator.lease)
        assert seat.standing == Standing(2, 1, frozenset({back.lease}))

    async def test_a_lease_that_lost_one_of_its_seats_to_another_keeps_the_others(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await store.join(room_id, self.newcomer(lease=creator.lease))
        back = self.returning(creator, 1)
        seat = await store.join(room_id, back)
        assert seat.taken_from == creator.lease
        assert seat.standing.leases == {creator.lease, back.lease}

    async def test_a_seat_taken_back_within_its_lease_is_taken_from_no_other(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        seat = await store.join(room_id, self.returning(creator, 1, lease=creator.lease))
        assert (seat.first, seat.taken_from) == (False, None)
        assert seat.standing == Standing(2, 1, frozenset({creator.lease}))

    async def test_a_seat_that_nobody_held_is_taken_from_nobody(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        seat = await store.join(room_id, self.returning(creator, 1))
        assert (seat.first, seat.taken_from) == (True, None)

    # Renewing

    async def test_a_renewed_lease_keeps_its_seats(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        await self.pass_time(LEASE / 1000 * 0.7)
        assert await store.renew(room_id, creator.lease) == Standing(
            1, 1, frozenset({creator.lease})
        )
        await self.pass_time(LEASE / 1000 * 0.7)
        seat = await store.join(room_id, self.newcomer())
        assert (seat.standing.participants, seat.standing.reaped) == (2, False)

    async def test_a_join_renews_its_lease(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        await self.pass_time(LEASE / 1000 * 0.7)
        await store.join(room_id, self.newcomer(lease=creator.lease))
        await self.pass_time(LEASE / 1000 * 0.7)
        assert (await store.renew(room_id, creator.lease)).participants == 2

    async def test_a_lease_that_is_not_there_renews_nothing(self):
        store = await self.store(key_ttl_ms=2_000)
        room_id, creator, *_ = await self.room(store)
        await self.pass_time(1.2)
        assert await store.renew(room_id, self.name("lease")) is None
        assert (await store.renew(room_id, creator.lease)).leases == {creator.lease}
        await self.pass_time(1.2)
        assert await store.renew(room_id, self.name("lease")) is None
        await self.pass_time(1.2)
        assert not await store.exists(room_id)

    async def test_a_lease_whose_last_seat_was_left_cannot_be_renewed(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        assert await store.renew(room_id, creator.lease) is None

    # Lapsing

    async def test_a_join_drops_lapsed_leases_with_their_seats(self):
        store = await self.leasing()
        room_id, _, live = await self.half_lapsed(store)
        guest = self.newcomer()
        seat = await store.join(room_id, guest)
        assert seat.standing == Standing(4, 2, frozenset({live.lease, guest.lease}), reaped=True)

    async def test_a_renewal_drops_the_lapsed_leases_of_others_and_says_so_once(self):
        store = await self.leasing()
        room_id, _, live = await self.half_lapsed(store)
        left = Standing(3, 1, frozenset({live.lease}), reaped=True)
        assert await store.renew(room_id, live.lease) == left
        assert await store.renew(room_id, live.lease) == Standing(3, 1, left.leases)

    async def test_a_leave_drops_lapsed_leases(self):
        store = await self.leasing()
        room_id, _, live = await self.half_lapsed(store)
        left = await self.leave(store, room_id, live, for_good=True)
        assert left == Standing(4, 0, frozenset(), reaped=True)
        assert not await store.exists(room_id)

    async def test_a_registration_drops_lapsed_leases(self):
        store = await self.leasing()
        room_id, _, live = await self.half_lapsed(store)
        registration = self.registration(live.lease, live)
        outcome = await store.register(room_id, registration)
        assert outcome.standing == Standing(4, 1, frozenset({registration.lease}), reaped=True)

    async def test_steps_that_tell_nothing_of_the_members_drop_lapsed_leases_too(self):
        store = await self.leasing()
        rooms = [(step, *await self.two(store)) for step in range(4)]
        await self.pass_time(LEASE / 1000 * 0.7)
        for _, room_id, _, live in rooms:
            await store.renew(room_id, live.lease)
        await self.pass_time(LEASE / 1000 * 0.7)
        for step, room_id, lapsed, live in rooms:
            match step:
                case 0:
                    assert await store.exists(room_id)
                case 1:
                    await store.rotate_qr(room_id, self.qr(), "")
                case 2:
                    assert await self.leave(store, room_id, lapsed) is None
                case 3:
                    assert await store.renew(room_id, lapsed.lease) is None
            assert await store.renew(room_id, live.lease) == Standing(3, 1, frozenset({live.lease}))

    async def test_leases_that_lapsed_together_are_one_change(self):
        store = await self.leasing()
        room_id, *_ = await self.two(store)
        await self.pass_time(LEASE / 1000 * 1.3)
        seat = await store.join(room_id, self.newcomer())
        assert (seat.standing.revision, seat.standing.participants) == (4, 1)
        assert seat.standing.reaped

    async def test_the_seats_of_a_lapsed_lease_are_free(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer(lease=creator.lease))
        await self.pass_time(LEASE / 1000 * 1.3)
        assert (await store.join(room_id, self.newcomer())).standing.participants == 1

    async def test_one_whose_lease_lapsed_comes_back_as_one_who_left(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        await store.join(room_id, self.returning(creator, 2, lease=creator.lease))
        await self.pass_time(LEASE / 1000 * 1.3)
        stale = await self.refusal(store.join(room_id, self.returning(creator, 1)))
        assert stale.code is Code.TOKEN_REPLAY
        seat = await store.join(room_id, self.returning(creator, 2, lease=creator.lease))
        assert (seat.first, seat.taken_from) == (True, None)

    async def test_an_instance_whose_own_lease_lapsed_learns_that_it_has_no_seats(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        await self.pass_time(LEASE / 1000 * 1.3)
        assert await store.renew(room_id, creator.lease) is None
        assert await self.leave(store, room_id, creator) is None
        assert (await store.join(room_id, self.newcomer())).standing.participants == 1

    async def test_a_room_whose_leases_all_lapsed_has_been_empty_since_then(self):
        store = await self.leasing(empty_grace_ms=GRACE)
        asked, *rooms = [await self.room(store) for _ in range(4)]
        await self.pass_time((LEASE + GRACE * 0.5) / 1000)
        assert await store.exists(asked[0])
        await self.pass_time(GRACE / 1000)
        assert not await store.exists(asked[0])
        (joined, *_), (renewed, creator, *_), (seen, *_) = rooms
        assert (await self.refusal(store.join(joined, self.newcomer()))).code is Code.NO_ROOM
        assert await store.renew(renewed, creator.lease) is None
        assert not await store.exists(seen)

    async def test_a_room_whose_leases_all_lapsed_is_gone_at_once_without_a_grace_time(self):
        store = await self.leasing(empty_grace_ms=0)
        room_id, *_ = await self.room(store)
        await self.pass_time(LEASE / 1000 * 1.3)
        assert not await store.exists(room_id)

    # Who may not be sure

    async def test_one_who_may_not_reap_leaves_lapsed_leases_as_they_are(self):
        store = await self.leasing()
        room_id, lapsed, live = await self.half_lapsed(store)
        self.let_reap(False)
        guest = self.newcomer()
        seat = await store.join(room_id, guest)
        leases = frozenset({lapsed.lease, live.lease, guest.lease})
        assert seat.standing == Standing(3, 3, leases)
        full = await self.refusal(store.join(room_id, self.newcomer()))
        assert full.code is Code.ROOM_FULL
        self.let_reap(True)
        assert (await store.renew(room_id, live.lease)).leases == leases - {lapsed.lease}

    async def test_a_lapsed_lease_that_was_not_dropped_can_be_renewed(self):
        store = await self.leasing()
        room_id, creator, *_ = await self.room(store)
        await self.pass_time(LEASE / 1000 * 1.3)
        self.let_reap(False)
        assert (await store.renew(room_id, creator.lease)).participants == 1
        self.let_reap(True)
        await self.pass_time(LEASE / 1000 * 0.6)
        assert await store.renew(room_id, creator.lease) == Standing(
            1, 1, frozenset({creator.lease})
        )

    async def leasing(self, **over):
        """A store where only leases lapse, unless told otherwise."""
        limits = {"key_ttl_ms": 60_000, "empty_grace_ms": 60_000} | over
        return await self.store(lease_ms=LEASE, **limits)

    async def two(self, store):
        """A room at revision 2 with two members, each under a lease of its own."""
        room_id, creator, *_ = await self.room(store)
        guest = self.newcomer()
        await store.join(room_id, guest)
        return room_id, creator, guest

    async def half_lapsed(self, store):
        """As `two`, where the lease of the first has lapsed."""
        room_id, creator, guest = await self.two(store)
        await self.pass_time(LEASE / 1000 * 0.7)
        await store.renew(room_id, guest.lease)
        await self.pass_time(LEASE / 1000 * 0.7)
        return room_id, creator, guest
