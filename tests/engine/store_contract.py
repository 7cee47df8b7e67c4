"""What any room store must do. A subclass says how to make one and how time passes for it.

Only `IRoomStore` is used, and every call is awaited, so that a store with a server behind it can
be held to the same tests. Time passes by `pass_time`, which a store on a fake clock answers at
once and a store on a server may answer by waiting; the times to live used here are short.
"""

import itertools
from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import Entry, IRoomStore, QrToken, StoreStatus

#: Milliseconds; short enough to be waited for.
KEY_TTL, GRACE, CAPACITY, CREATES = 4_000, 1_000, 3, 5


class StoreContract(ABC):
    """Inherit, implement the three abstract methods, and name the class ``Test...``."""

    @abstractmethod
    async def make_store(self, limits):
        """A started store with these `RoomLimits`."""

    @abstractmethod
    async def pass_time(self, seconds):
        """Let time pass for the stores made."""

    @abstractmethod
    def now_ms(self):
        """Unix time in milliseconds, as the stores made see it."""

    async def store(self, **over):
        limits = {
            "max_participants": CAPACITY,
            "key_ttl_ms": KEY_TTL,
            "empty_grace_ms": GRACE,
            "qr_rotation_ms": 2_000,
            "max_creates_per_ip_per_min": CREATES,
        } | over
        store = await self.make_store(SimpleNamespace(**limits))
        assert IRoomStore.providedBy(store)
        return store

    _names = itertools.count()

    def name(self, what="id"):
        return f"{what}-{next(self._names):06}"

    def qr(self, ttl_ms=60_000):
        return QrToken(self.name("qr"), self.now_ms() + ttl_ms)

    def newcomer(self, token_id=None, **over):
        return Entry(
            **(
                {
                    "member_id": self.name("member"),
                    "token_id": token_id or self.name("jti"),
                    "token_expires_ms": self.now_ms() + 60_000,
                }
                | over
            )
        )

    def returning(self, member_id, generation):
        return Entry(member_id, generation=generation)

    async def room(self, store, address="", entry=None):
        """A new room: its id, its creator's entry, the seat, the QR token."""
        room_id, entry, qr = self.name("room"), entry or Entry(self.name("member")), self.qr()
        seat = await store.create(room_id, address or self.name("address"), entry, qr)
        return room_id, entry, seat, qr

    async def refusal(self, awaitable):
        with pytest.raises(RelayError) as caught:
            await awaitable
        return caught.value

    # Creating

    async def test_a_new_room_has_its_creator_as_member_number_1(self):
        store = await self.store()
        room_id, _, seat, _ = await self.room(store)
        assert (seat.participants, seat.number, seat.qr_spent) == (1, 1, False)
        assert await store.exists(room_id)

    async def test_an_empty_room_has_no_seat_and_can_be_joined(self):
        store = await self.store()
        assert await store.create("empty-room", self.name("address"), None, None) is None
        assert await store.exists("empty-room")
        assert (await store.join("empty-room", self.newcomer())).participants == 1

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
        assert [seat.participants for seat in seats] == [2, 3]

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

    async def test_a_token_serves_once(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer("once"))
        again = await self.refusal(store.join(room_id, self.newcomer("once")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_token_is_spent_only_by_a_join_that_succeeds(self):
        store = await self.store(max_participants=2)
        room_id, creator, seat, _ = await self.room(store)
        other = self.newcomer()
        await store.join(room_id, other)
        full = await self.refusal(store.join(room_id, self.newcomer("kept")))
        assert full.code is Code.ROOM_FULL
        await store.leave(room_id, creator.member_id, seat.epoch, True)
        assert (await store.join(room_id, self.newcomer("kept"))).participants == 2

    async def test_a_spent_token_is_told_as_such_even_in_a_full_room(self):
        store = await self.store(max_participants=2)
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer("spent"))
        again = await self.refusal(store.join(room_id, self.newcomer("spent")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_spent_token_is_told_as_such_when_its_room_has_gone(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        guest = self.newcomer("spent")
        taken = await store.join(room_id, guest)
        await store.leave(room_id, creator.member_id, seat.epoch, True)
        await store.leave(room_id, guest.member_id, taken.epoch, True)
        again = await self.refusal(store.join(room_id, self.newcomer("spent")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_spent_token_is_remembered_for_as_long_as_it_could_be_used(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        expires_ms = self.now_ms() + 1_500
        await store.join(room_id, self.newcomer("short", token_expires_ms=expires_ms))
        await self.pass_time(2)
        again = await self.refusal(
            store.join(room_id, self.newcomer("short", token_expires_ms=expires_ms))
        )
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_token_too_old_to_be_remembered_as_spent_is_expired(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        late = self.newcomer("decided-late", token_expires_ms=self.now_ms() - 5_001)
        refused = await self.refusal(store.join(room_id, late))
        assert refused.code is Code.TOKEN_EXPIRED

    async def test_numbers_for_automatic_labels_are_never_given_twice(self):
        store = await self.store()
        room_id, _, seat, _ = await self.room(store)
        numbers = [seat.number]
        for _ in range(4):
            guest = self.newcomer()
            taken = await store.join(room_id, guest)
            numbers.append(taken.number)
            await store.leave(room_id, guest.member_id, taken.epoch, True)
        assert len(set(numbers)) == 5

    async def test_no_automatic_label_repeats_that_of_a_member_who_asked_for_it(self):
        store = await self.store(max_participants=9)
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer(label_number=4))
        numbers = [(await store.join(room_id, self.newcomer())).number for _ in range(3)]
        assert 4 not in numbers
        assert len(set(numbers)) == 3

    # Leaving

    async def test_a_seat_given_back_leaves_the_count(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer()
        seat = await store.join(room_id, guest)
        assert await store.leave(room_id, guest.member_id, seat.epoch, False) == 1

    async def test_a_seat_is_given_back_once(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer()
        seat = await store.join(room_id, guest)
        await store.leave(room_id, guest.member_id, seat.epoch, False)
        assert await store.leave(room_id, guest.member_id, seat.epoch, False) is None
        assert (await store.join(room_id, self.newcomer())).participants == 2

    async def test_leaving_a_room_that_does_not_exist_changes_nothing(self):
        store = await self.store()
        assert await store.leave("no-such-room", "nobody", 1, True) is None
        assert not await store.exists("no-such-room")

    async def test_a_room_whose_last_member_leaves_for_good_is_gone_at_once(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        assert await store.leave(room_id, creator.member_id, seat.epoch, True) == 0
        assert not await store.exists(room_id)

    async def test_a_room_whose_last_member_is_cut_off_waits_for_the_grace_time(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        assert await store.leave(room_id, creator.member_id, seat.epoch, False) == 0
        await self.pass_time(GRACE / 1000 * 0.6)
        assert await store.exists(room_id)
        await self.pass_time(GRACE / 1000 * 0.8)
        assert not await store.exists(room_id)

    async def test_without_a_grace_time_an_empty_room_is_gone_at_once(self):
        store = await self.store(empty_grace_ms=0)
        room_id, creator, seat, _ = await self.room(store)
        await store.leave(room_id, creator.member_id, seat.epoch, False)
        assert not await store.exists(room_id)

    # Coming back

    async def test_one_who_comes_back_holds_one_seat_with_a_new_epoch(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        back = await store.join(room_id, self.returning(creator.member_id, 1))
        assert back.participants == 1
        assert back.epoch != seat.epoch

    async def test_the_leave_of_a_replaced_holder_changes_nothing(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        await store.join(room_id, self.returning(creator.member_id, 1))
        assert await store.leave(room_id, creator.member_id, seat.epoch, True) is None
        assert (await store.join(room_id, self.newcomer())).participants == 2

    async def test_a_held_seat_can_be_taken_back_in_a_full_room(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        back = await store.join(room_id, self.returning(creator.member_id, 1))
        assert back.participants == CAPACITY

    async def test_a_seat_left_and_given_to_another_cannot_be_taken_back(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        for _ in range(CAPACITY - 1):
            await store.join(room_id, self.newcomer())
        await store.leave(room_id, creator.member_id, seat.epoch, False)
        await store.join(room_id, self.newcomer())
        error = await self.refusal(store.join(room_id, self.returning(creator.member_id, 1)))
        assert error.code is Code.ROOM_FULL

    async def test_a_generation_serves_again_until_a_later_one_was_used(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        for _ in range(2):
            await store.join(room_id, self.returning(creator.member_id, 1))
        await store.join(room_id, self.returning(creator.member_id, 2))
        error = await self.refusal(store.join(room_id, self.returning(creator.member_id, 1)))
        assert error.code is Code.TOKEN_REPLAY

    async def test_generations_are_remembered_while_the_member_is_away(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        await store.join(room_id, self.newcomer())
        back = await store.join(room_id, self.returning(creator.member_id, 2))
        await store.leave(room_id, creator.member_id, back.epoch, False)
        error = await self.refusal(store.join(room_id, self.returning(creator.member_id, 1)))
        assert error.code is Code.TOKEN_REPLAY

    async def test_coming_back_in_the_grace_time_keeps_the_room(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        await store.leave(room_id, creator.member_id, seat.epoch, False)
        await store.join(room_id, self.returning(creator.member_id, 1))
        await self.pass_time(GRACE / 1000 * 2)
        assert await store.exists(room_id)

    async def test_coming_back_uses_up_no_number(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        await store.join(room_id, self.returning(creator.member_id, 1))
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
        room_id, *_ = await self.room(store)
        for _ in range(2):
            await self.pass_time(KEY_TTL / 1000 * 0.7)
            await store.renew(room_id)
        assert await store.exists(room_id)

    async def test_renewing_does_not_prolong_the_life_of_an_empty_room(self):
        store = await self.store()
        room_id, creator, seat, _ = await self.room(store)
        await store.leave(room_id, creator.member_id, seat.epoch, False)
        await store.renew(room_id)
        await self.pass_time(GRACE / 1000 + 0.5)
        assert not await store.exists(room_id)

    async def test_renewing_brings_no_room_into_being(self):
        store = await self.store()
        await store.renew("no-such-room")
        assert not await store.exists("no-such-room")

    # The QR token

    async def test_joining_with_the_rooms_qr_token_says_that_it_was_that(self):
        store = await self.store()
        room_id, _, _, qr = await self.room(store)
        assert (await store.join(room_id, self.newcomer(qr.id))).qr_spent
        assert not (await store.join(room_id, self.newcomer())).qr_spent

    async def test_a_fresh_qr_token_takes_the_place_of_the_one_shown(self):
        store = await self.store()
        room_id, _, _, qr = await self.room(store)
        fresh = self.qr()
        assert await store.rotate_qr(room_id, fresh, qr.id) == fresh

    async def test_of_two_rotations_at_once_the_room_shows_the_first(self):
        store = await self.store()
        room_id, _, _, qr = await self.room(store)
        first = self.qr()
        await store.rotate_qr(room_id, first, qr.id)
        assert await store.rotate_qr(room_id, self.qr(), qr.id) == first

    async def test_an_expired_qr_token_is_replaced_whoever_asks(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        short = QrToken(self.name("qr"), self.now_ms() + 500)
        room_id = self.name("room")
        await store.create(room_id, self.name("address"), Entry(self.name("member")), short)
        await self.pass_time(1)
        fresh = self.qr()
        assert await store.rotate_qr(room_id, fresh, "something-else") == fresh

    async def test_a_room_without_a_qr_token_gets_one(self):
        store = await self.store()
        room_id = self.name("room")
        await store.create(room_id, self.name("address"), None, None)
        fresh = self.qr()
        assert await store.rotate_qr(room_id, fresh, "") == fresh

    async def test_a_spent_qr_token_is_not_shown_again(self):
        store = await self.store()
        room_id, _, _, qr = await self.room(store)
        await store.join(room_id, self.newcomer(qr.id))
        fresh = self.qr()
        assert await store.rotate_qr(room_id, fresh, "") == fresh

    async def test_a_room_that_does_not_exist_shows_no_qr_token(self):
        store = await self.store()
        error = await self.refusal(store.rotate_qr("no-such-room", self.qr(), ""))
        assert error.code is Code.NO_ROOM

    # Probes

    async def test_the_status_is_there_at_once(self):
        status = (await self.store()).status()
        assert isinstance(status, StoreStatus)
        assert status.ready
        assert status.message
