"""What any room store must do when instances register their rooms; a part of the contract."""

from store_case import CAPACITY, GRACE, LEASE, StoreCase

from twisted_relay.core.errors import Code
from twisted_relay.engine.interfaces import Registered, Standing


class RegistrationTests(StoreCase):
    # A room that is there

    async def test_those_who_hold_their_seats_keep_them_under_the_new_lease(self):
        store = await self.store()
        room_id, here, seat, _ = await self.room(store)
        elsewhere = self.newcomer()
        await store.join(room_id, elsewhere)
        again = self.registration(here.lease, here, revision=seat.standing.revision)
        outcome = await store.register(room_id, again)
        leases = frozenset({again.lease, elsewhere.lease})
        assert outcome == Registered(Standing(3, 2, leases))
        assert await store.renew(room_id, here.lease) is None
        assert await store.renew(room_id, again.lease) == outcome.standing
        assert (await self.leave(store, room_id, here)).participants == 1

    async def test_a_registration_may_be_repeated(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        again = self.registration(
            here.lease, here, self.entry(), revision=7, number=5, qr=self.qr(), spent=(("s", 1),)
        )
        first = await store.register(room_id, again)
        assert await store.register(room_id, again) == first
        assert await store.renew(room_id, again.lease) == first.standing

    async def test_one_whose_answer_was_lost_may_be_tried_again_under_another_lease(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        await store.register(room_id, self.registration(here.lease, here))
        again = self.registration(here.lease, here)
        outcome = await store.register(room_id, again)
        assert outcome == Registered(Standing(3, 1, frozenset({again.lease})))

    async def test_a_registration_renews_the_lease_and_the_room(self):
        store = await self.store(lease_ms=LEASE, key_ttl_ms=LEASE, empty_grace_ms=60_000)
        room_id, here, *_ = await self.room(store)
        again = self.registration(here.lease, here)
        for _ in range(3):
            await store.register(room_id, again)
            await self.pass_time(LEASE / 1000 * 0.6)
        assert await store.renew(room_id, again.lease) == Standing(2, 1, frozenset({again.lease}))

    async def test_the_revision_passes_every_one_that_was_heard_of(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        behind = self.registration(here.lease, here, revision=0)
        assert (await store.register(room_id, behind)).standing.revision == 2
        ahead = self.registration(behind.lease, here, revision=9)
        assert (await store.register(room_id, ahead)).standing.revision == 10

    async def test_a_revision_that_fell_behind_is_raised_though_the_members_are_the_same(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        known = {"lease": here.lease, "revision": 9}
        outcome = await store.register(room_id, self.registration(here.lease, here, **known))
        assert outcome.standing.revision == 10
        assert (await store.renew(room_id, here.lease)).revision == 10

    async def test_a_seat_held_by_another_connection_stays_with_it(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        back = self.returning(here, 1)
        standing = (await store.join(room_id, back)).standing
        outcome = await store.register(room_id, self.registration(here.lease, here))
        assert outcome == Registered(standing, replaced=frozenset({here.member_id}))
        assert (await self.leave(store, room_id, back)).participants == 0

    async def test_a_seat_taken_back_since_is_replaced_even_if_it_was_left_again(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        await store.join(room_id, self.newcomer())
        back = self.returning(here, 1)
        await store.join(room_id, back)
        standing = await self.leave(store, room_id, back)
        outcome = await store.register(room_id, self.registration(here.lease, here))
        assert outcome == Registered(standing, replaced=frozenset({here.member_id}))

    async def test_a_seat_that_nobody_took_back_is_given_again(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        elsewhere, back = self.newcomer(), self.returning(here, 1)
        await store.join(room_id, elsewhere)
        await store.join(room_id, back)
        await self.leave(store, room_id, back)
        again = self.registration(back.lease, back)
        outcome = await store.register(room_id, again)
        leases = frozenset({elsewhere.lease, again.lease})
        assert outcome == Registered(Standing(5, 2, leases))

    async def test_one_for_whom_there_is_no_room_any_more_is_crowded_out(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            standing = (await store.join(room_id, self.newcomer())).standing
        late = self.entry()
        again = self.registration(None, late)
        outcome = await store.register(room_id, again)
        assert outcome == Registered(standing, crowded_out=frozenset({late.member_id}))
        assert await store.renew(room_id, again.lease) is None

    async def test_members_are_admitted_in_order_while_there_is_room(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        await store.join(room_id, self.newcomer())
        fits, late = self.entry(), self.entry()
        outcome = await store.register(room_id, self.registration(here.lease, fits, late, here))
        assert outcome.standing.participants == CAPACITY
        assert (outcome.replaced, outcome.crowded_out) == (frozenset(), {late.member_id})

    async def test_one_who_keeps_a_seat_needs_no_room(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        outcome = await store.register(room_id, self.registration(here.lease, here))
        assert outcome.standing.participants == CAPACITY
        assert outcome.crowded_out == frozenset()

    async def test_no_seat_stays_under_the_leases_of_the_instance_that_it_does_not_know(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        gone, later = self.newcomer(lease=here.lease), self.newcomer()
        await store.join(room_id, gone)
        await store.join(room_id, later)
        again = self.registration(here.lease, here, lease=later.lease)
        outcome = await store.register(room_id, again)
        assert outcome == Registered(Standing(4, 1, frozenset({later.lease})))
        assert await self.leave(store, room_id, gone) is None
        assert await self.leave(store, room_id, later) is None

    async def test_the_seats_that_nobody_knows_make_room_for_those_who_are_there(self):
        store = await self.store()
        room_id, former, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer(lease=former.lease))
        members = [self.entry() for _ in range(CAPACITY)]
        outcome = await store.register(room_id, self.registration(former.lease, *members))
        assert outcome.standing.participants == CAPACITY
        assert outcome.crowded_out == frozenset()

    async def test_a_hold_that_the_instance_does_not_know_keeps_no_seat_under_its_lease(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        here = self.returning(creator, 1, lease=creator.lease)
        unanswered = self.returning(creator, 1, lease=creator.lease)
        await store.join(room_id, here)
        await store.join(room_id, unanswered)
        outcome = await store.register(room_id, self.registration(creator.lease, here))
        assert (outcome.standing.participants, outcome.replaced) == (1, frozenset())
        assert await self.leave(store, room_id, unanswered) is None
        assert (await self.leave(store, room_id, here)).participants == 0

    async def test_neither_does_one_that_took_the_seat_back_with_a_later_generation(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        unanswered = self.returning(here, 1, lease=here.lease)
        await store.join(room_id, unanswered)
        outcome = await store.register(room_id, self.registration(here.lease, here))
        assert outcome.standing == Standing(3, 0, frozenset())
        assert outcome.replaced == {here.member_id}
        assert await self.leave(store, room_id, unanswered) is None

    async def test_a_room_left_empty_by_a_registration_waits_for_the_grace_time(self):
        store = await self.store()
        room_id, here, *_ = await self.room(store)
        outcome = await store.register(room_id, self.registration(here.lease))
        assert outcome == Registered(Standing(2, 0, frozenset()))
        assert await store.exists(room_id)
        await self.pass_time(GRACE / 1000 * 0.7)
        await store.register(room_id, self.registration(here.lease))
        await self.pass_time(GRACE / 1000 * 0.7)
        assert not await store.exists(room_id)

    # A room that is not there

    async def test_a_room_that_was_lost_is_made_anew(self):
        store = await self.store()
        room_id, here = self.name("room"), (self.entry(), self.entry(generation=3))
        again = self.registration(None, *here, revision=41)
        outcome = await store.register(room_id, again)
        assert outcome == Registered(Standing(42, 2, frozenset({again.lease})), made_anew=True)
        assert await store.exists(room_id)
        assert (await store.join(room_id, self.newcomer())).standing.revision == 43

    async def test_a_room_deleted_by_the_last_leave_and_registered_again_goes_on_counting(self):
        store = await self.store()
        room_id, here, seat, _ = await self.room(store)
        known = (await self.leave(store, room_id, here, for_good=True)).revision
        again = self.registration(here.lease, here, revision=known)
        outcome = await store.register(room_id, again)
        assert outcome.made_anew
        assert outcome.standing.revision == known + 1 > seat.standing.revision

    async def test_each_instance_adds_its_members_to_a_room_made_anew(self):
        store = await self.store()
        room_id = self.name("room")
        one = self.registration(None, self.entry(), revision=3)
        other = self.registration(None, self.entry(), self.entry(), revision=9)
        await store.register(room_id, one)
        outcome = await store.register(room_id, other)
        leases = frozenset({one.lease, other.lease})
        assert outcome == Registered(Standing(10, 3, leases))

    async def test_a_registration_of_nobody_makes_no_room(self):
        store = await self.store()
        room_id = self.name("room")
        outcome = await store.register(room_id, self.registration(None, revision=8, qr=self.qr()))
        assert outcome == Registered(Standing(8, 0, frozenset()))
        assert not await store.exists(room_id)

    async def test_generations_are_known_again(self):
        store = await self.store()
        room_id, here = self.name("room"), self.entry(generation=3)
        await store.register(room_id, self.registration(None, here))
        stale = await self.refusal(store.join(room_id, self.returning(here, 2)))
        assert stale.code is Code.TOKEN_REPLAY
        assert (await store.join(room_id, self.returning(here, 3))).standing.participants == 1

    async def test_a_registration_makes_no_generation_serve_again(self):
        store = await self.store()
        room_id, here = self.name("room"), self.entry(generation=3)
        first = self.registration(None, here)
        await store.register(room_id, first)
        earlier = self.entry(member_id=here.member_id, hold=here.hold, generation=1)
        await store.register(room_id, self.registration(first.lease, earlier))
        stale = await self.refusal(store.join(room_id, self.returning(here, 2)))
        assert stale.code is Code.TOKEN_REPLAY

    # What comes along

    async def test_the_numbers_for_labels_go_on_from_the_highest_heard_of(self):
        store = await self.store(max_participants=9)
        room_id, here = self.name("room"), self.entry()
        await store.register(room_id, self.registration(None, here, number=7))
        assert (await store.join(room_id, self.newcomer())).number == 8
        await store.register(room_id, self.registration(None, self.entry(), number=2))
        assert (await store.join(room_id, self.newcomer())).number == 9

    async def test_no_automatic_label_repeats_that_of_a_member_registered(self):
        store = await self.store()
        room_id, here = self.name("room"), self.entry(label_number=8)
        await store.register(room_id, self.registration(None, here, number=7))
        assert (await store.join(room_id, self.newcomer())).number == 9

    async def test_the_qr_token_heard_of_is_shown_where_there_is_none(self):
        store = await self.store()
        room_id, shown = self.name("room"), self.qr()
        await store.register(room_id, self.registration(None, self.entry(), qr=shown))
        assert await store.rotate_qr(room_id, self.qr(), "something-else") == shown
        assert (await store.join(room_id, self.newcomer(shown.id))).qr_spent

    async def test_the_qr_token_shown_stays(self):
        store = await self.store()
        room_id, here, _, shown = await self.room(store)
        await store.register(room_id, self.registration(here.lease, here, qr=self.qr()))
        assert await store.rotate_qr(room_id, self.qr(), "something-else") == shown

    async def test_no_qr_token_is_shown_that_somebody_knows_to_be_spent(self):
        store = await self.store()
        room_id, spent, fresh = self.name("room"), self.qr(), self.qr()
        await store.register(room_id, self.registration(None, self.entry(), qr=spent))
        knows = self.registration(None, self.entry(), spent=((spent.id, spent.expires_ms),))
        await store.register(room_id, knows)
        assert await store.rotate_qr(room_id, fresh, "something-else") == fresh
        room_id = self.name("room")
        await store.register(room_id, knows)
        await store.register(room_id, self.registration(None, self.entry(), qr=spent))
        assert await store.rotate_qr(room_id, fresh, "something-else") == fresh

    async def test_tokens_heard_of_as_spent_are_refused(self):
        store = await self.store()
        room_id, expires_ms = self.name("room"), self.now_ms() + 60_000
        spent = (("one", expires_ms), ("long-ago", self.now_ms() - 60_000), ("two", expires_ms))
        await store.register(room_id, self.registration(None, self.entry(), spent=spent))
        for token_id in ("one", "two"):
            refused = await self.refusal(store.join(room_id, self.newcomer(token_id)))
            assert refused.code is Code.TOKEN_REPLAY
        assert (await store.join(room_id, self.newcomer("three"))).standing.participants == 2

    async def test_tokens_are_spent_even_by_a_registration_of_nobody(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        spent = (("one", self.now_ms() + 60_000),)
        await store.register(room_id, self.registration(None, spent=spent))
        refused = await self.refusal(store.join(room_id, self.newcomer("one")))
        assert refused.code is Code.TOKEN_REPLAY
