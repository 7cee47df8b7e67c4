"""What any room store must do: inherit `StoreContract`, say how to make a store and how time
passes for it, and name the class ``Test...``."""

from store_case import CAPACITY, CREATES, GRACE, KEY_TTL
from store_comparison import StoreComparison
from store_leases import LeaseTests
from store_registration import RegistrationTests
from store_tokens import TokenTests

from twisted_relay.core.errors import Code
from twisted_relay.engine.interfaces import StoreStatus


class StoreContract(TokenTests, LeaseTests, RegistrationTests, StoreComparison):
    # Creating

    async def test_a_new_room_has_its_creator_as_member_number_1(self):
        store = await self.store()
        room_id, _, seat, _ = await self.room(store)
        assert (seat.standing.participants, seat.number, seat.qr_spent) == (1, 1, False)
        assert await store.exists(room_id)

    async def test_an_empty_room_has_no_seat_and_can_be_joined(self):
        store, room_id = await self.store(), self.name("room")
        assert await store.create(room_id, self.name("address"), None, None) is None
        assert await store.exists(room_id)
        assert (await store.join(room_id, self.newcomer())).standing.participants == 1

    async def test_an_address_that_creates_too_many_rooms_is_told_when_to_try_again(self):
        store = await self.store()
        address = self.name("address")
        for _ in range(CREATES):
            await self.room(store, address)
        error = await self.refusal(self.room(store, address))
        assert error.code is Code.RATE_LIMITED
        assert 0 < error.retry_after_ms <= 60_000

    async def test_one_address_does_not_use_up_the_creations_of_another(self):
        store = await self.store(max_creates_per_ip_per_min=1)
        for _ in range(3):
            await self.room(store)

    async def test_a_refused_creation_leaves_no_room(self):
        store = await self.store(max_creates_per_ip_per_min=1)
        address = self.name("address")
        await self.room(store, address)
        room_id = self.name("room")
        await self.refusal(store.create(room_id, address, None, None))
        assert not await store.exists(room_id)

    # Joining

    async def test_each_seat_is_counted_once(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        seats = [await store.join(room_id, self.newcomer()) for _ in range(2)]
        assert [seat.standing.participants for seat in seats] == [2, 3]

    async def test_a_room_that_does_not_exist_cannot_be_joined(self):
        store = await self.store()
        assert (await self.refusal(store.join("no-such-room", self.newcomer()))).code is (
            Code.NO_ROOM
        )

    async def test_a_full_room_takes_nobody(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        assert (await self.refusal(store.join(room_id, self.newcomer()))).code is Code.ROOM_FULL

    async def test_numbers_for_automatic_labels_are_never_given_twice(self):
        store = await self.store()
        room_id, _, seat, _ = await self.room(store)
        numbers = [seat.number]
        for _ in range(4):
            guest = self.newcomer()
            taken = await store.join(room_id, guest)
            numbers.append(taken.number)
            await self.leave(store, room_id, guest, for_good=True)
        assert len(set(numbers)) == 5

    async def test_no_automatic_label_repeats_that_of_a_member_who_asked_for_it(self):
        store = await self.store(max_participants=9)
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer(label_number=4))
        numbers = [(await store.join(room_id, self.newcomer())).number for _ in range(3)]
        assert 4 not in numbers
        assert len(set(numbers)) == 3

    async def test_a_label_asked_for_is_free_when_its_member_has_left(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer(label_number=3)
        assert (await store.join(room_id, guest)).number == 2
        await self.leave(store, room_id, guest)
        assert (await store.join(room_id, self.newcomer())).number == 3

    # Leaving

    async def test_a_seat_given_back_leaves_the_count(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer()
        await store.join(room_id, guest)
        assert (await self.leave(store, room_id, guest)).participants == 1

    async def test_a_seat_is_given_back_once(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer()
        await store.join(room_id, guest)
        await self.leave(store, room_id, guest)
        assert await self.leave(store, room_id, guest) is None
        assert (await store.join(room_id, self.newcomer())).standing.participants == 2

    async def test_leaving_a_room_that_does_not_exist_changes_nothing(self):
        store = await self.store()
        assert await self.leave(store, "no-such-room", self.entry(), for_good=True) is None
        assert not await store.exists("no-such-room")

    async def test_a_room_whose_last_member_leaves_for_good_is_gone_at_once(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        assert (await self.leave(store, room_id, creator, for_good=True)).participants == 0
        assert not await store.exists(room_id)

    async def test_a_room_whose_last_member_is_cut_off_waits_for_the_grace_time(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        assert (await self.leave(store, room_id, creator)).participants == 0
        await self.pass_time(GRACE / 1000 * 0.6)
        assert await store.exists(room_id)
        await self.pass_time(GRACE / 1000 * 0.8)
        assert not await store.exists(room_id)

    async def test_without_a_grace_time_an_empty_room_is_gone_at_once(self):
        store = await self.store(empty_grace_ms=0)
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        assert not await store.exists(room_id)

    # Coming back

    async def test_one_who_comes_back_holds_one_seat_by_the_new_hold(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        back = self.returning(creator, 1)
        assert (await store.join(room_id, back)).standing.participants == 1
        assert (await self.leave(store, room_id, back)).participants == 0

    async def test_the_leave_of_a_replaced_holder_changes_nothing(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await store.join(room_id, self.returning(creator, 1))
        assert await self.leave(store, room_id, creator, for_good=True) is None
        assert (await store.join(room_id, self.newcomer())).standing.participants == 2

    async def test_a_held_seat_can_be_taken_back_in_a_full_room(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        back = await store.join(room_id, self.returning(creator, 1))
        assert back.standing.participants == CAPACITY

    async def test_a_seat_left_and_given_to_another_cannot_be_taken_back(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        await self.leave(store, room_id, creator)
        await store.join(room_id, self.newcomer())
        error = await self.refusal(store.join(room_id, self.returning(creator, 1)))
        assert error.code is Code.ROOM_FULL

    async def test_a_generation_serves_again_until_a_later_one_was_used(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(2):
            await store.join(room_id, self.returning(creator, 1))
        await store.join(room_id, self.returning(creator, 2))
        error = await self.refusal(store.join(room_id, self.returning(creator, 1)))
        assert error.code is Code.TOKEN_REPLAY

    async def test_generations_are_remembered_while_the_member_is_away(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await store.join(room_id, self.newcomer())
        back = self.returning(creator, 2)
        await store.join(room_id, back)
        await self.leave(store, room_id, back)
        error = await self.refusal(store.join(room_id, self.returning(creator, 1)))
        assert error.code is Code.TOKEN_REPLAY

    async def test_coming_back_in_the_grace_time_keeps_the_room(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        await store.join(room_id, self.returning(creator, 1))
        await self.pass_time(GRACE / 1000 * 2)
        assert await store.exists(room_id)

    async def test_coming_back_uses_up_no_number(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        await store.join(room_id, self.returning(creator, 1))
        assert (await store.join(room_id, self.newcomer())).number == seat.number + 1

    # Time

    async def test_a_room_that_nobody_renews_expires(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        await self.pass_time(KEY_TTL / 1000 + 0.5)
        assert not await store.exists(room_id)
        assert (await self.refusal(store.join(room_id, self.newcomer()))).code is Code.NO_ROOM

    async def test_a_renewed_room_lives_on_for_its_whole_time(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(2):
            await self.pass_time(KEY_TTL / 1000 * 0.7)
            await store.renew(room_id, creator.lease)
        assert await store.exists(room_id)

    async def test_renewing_does_not_prolong_the_life_of_an_empty_room(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await self.leave(store, room_id, creator)
        assert await store.renew(room_id, creator.lease) is None
        await self.pass_time(GRACE / 1000 + 0.5)
        assert not await store.exists(room_id)

    async def test_renewing_brings_no_room_into_being(self):
        store = await self.store()
        assert await store.renew("no-such-room", self.name("lease")) is None
        assert not await store.exists("no-such-room")

    # Probes

    async def test_the_status_is_there_at_once(self):
        status = (await self.store()).status()
        assert isinstance(status, StoreStatus)
        assert status.ready
        assert status.message
