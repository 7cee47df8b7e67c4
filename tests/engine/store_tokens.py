"""What any room store must do about tokens, the one that a room shows among them; a part of the
contract."""

from store_case import StoreCase

from twisted_relay.core.errors import Code
from twisted_relay.engine.interfaces import QrToken


class TokenTests(StoreCase):
    async def test_a_token_serves_once(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer("once"))
        again = await self.refusal(store.join(room_id, self.newcomer("once")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_token_is_spent_only_by_a_join_that_succeeds(self):
        store = await self.store(max_participants=2)
        room_id, creator, *_ = await self.room(store)
        other = self.newcomer()
        await store.join(room_id, other)
        full = await self.refusal(store.join(room_id, self.newcomer("kept")))
        assert full.code is Code.ROOM_FULL
        await self.leave(store, room_id, creator, for_good=True)
        assert (await store.join(room_id, self.newcomer("kept"))).standing.participants == 2

    async def test_a_spent_token_is_told_as_such_even_in_a_full_room(self):
        store = await self.store(max_participants=2)
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer("spent"))
        again = await self.refusal(store.join(room_id, self.newcomer("spent")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_spent_token_is_told_as_such_when_its_room_has_gone(self):
        store = await self.store()
        room_id, creator, *_ = await self.room(store)
        guest = self.newcomer("spent")
        await store.join(room_id, guest)
        await self.leave(store, room_id, creator, for_good=True)
        await self.leave(store, room_id, guest, for_good=True)
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
        await store.create(room_id, self.name("address"), self.entry(), short)
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

    async def test_a_token_that_was_spent_for_a_seat_in_which_nobody_sat_comes_back_with_it(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer("for-nothing")
        await store.join(room_id, guest)
        await store.leave(room_id, guest.member_id, guest.hold, False, "for-nothing")
        await store.join(room_id, self.newcomer("for-nothing"))
        again = await self.refusal(store.join(room_id, self.newcomer("for-nothing")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_token_comes_back_only_with_the_very_seat(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        guest = self.newcomer("used")
        await store.join(room_id, guest)
        assert await store.leave(room_id, guest.member_id, "no-such-hold", False, "used") is None
        again = await self.refusal(store.join(room_id, self.newcomer("used")))
        assert again.code is Code.TOKEN_REPLAY

    async def test_a_token_that_came_back_takes_no_other_along(self):
        store = await self.store()
        room_id, *_ = await self.room(store)
        await store.join(room_id, self.newcomer("used"))
        guest = self.newcomer("for-nothing")
        await store.join(room_id, guest)
        await store.leave(room_id, guest.member_id, guest.hold, False, "for-nothing")
        again = await self.refusal(store.join(room_id, self.newcomer("used")))
        assert again.code is Code.TOKEN_REPLAY
