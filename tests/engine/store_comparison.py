"""Any store answers any steps as the embedded one does: a part of the contract that finds what
nobody thought of."""

import random
from types import SimpleNamespace

import attrs
from store_case import LEASE, StoreCase
from twisted.internet.task import Clock

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import Registered, Seat, Standing
from twisted_relay.engine.memory_store import MemoryStore

#: Seconds between one turn and the next: no lease lapses in the midst of a turn.
_PAUSE = LEASE / 1000 * 0.7
#: The pause before each turn, and the steps on each room in it; where these are few, leases lapse.
_TURNS = ((0.0, 12), (_PAUSE, 2), (_PAUSE, 2), (_PAUSE, 8))
_ROOMS = 60


class StoreComparison(StoreCase):
    async def test_any_steps_are_answered_as_the_embedded_store_answers_them(self):
        limits = {"key_ttl_ms": 60_000, "empty_grace_ms": 60_000}
        store = await self.store(lease_ms=LEASE, **limits)
        clock = Clock()
        model = MemoryStore(
            clock,
            self.now_ms,
            SimpleNamespace(**self.limits(**limits)),
            reaps=lambda: True,
            lease_ms=LEASE,
        )
        began, lives = self.now_ms(), [_Life(self, seed) for seed in range(_ROOMS)]
        for pause, steps in _TURNS:
            await self.pass_time(pause)
            for life in lives:
                for _ in range(steps):
                    name, arguments = life.step()
                    clock.advance((self.now_ms() - began) / 1000 - clock.seconds())
                    expected = await _answer(model, name, arguments)
                    life.see(name, arguments, expected)
                    assert await _answer(store, name, arguments) == expected, life.seen


async def _answer(store, name, arguments):
    try:
        return await getattr(store, name)(*arguments)
    except RelayError as refused:
        return refused.code


class _Life:
    """Steps on one room at random, few enough names that they meet."""

    def __init__(self, case, seed):
        self._case = case
        self._random = random.Random(seed)
        self._room, self._address = case.name("room"), case.name("address")
        self._members = [case.name("member") for _ in range(5)]
        self._leases = [case.name("lease") for _ in range(4)]
        self._tokens = [case.qr() for _ in range(12)]
        self._entries = [case.entry(lease=self._leases[0])]
        self._last = None
        self.seen = []

    def step(self):
        """The name of a method of a store, and what to ask it."""
        if not self.seen:
            return "create", (self._room, self._address, self._entries[0], self._tokens[0])
        steps = (self._newcomer, self._returning, self._leave, self._renew, self._register)
        rare = (self._exists, self._rotate_qr)
        return self._random.choice(steps * 3 + rare)()

    def see(self, name, arguments, answer):
        """Take down an answer. Of two standings with one revision both say the same, and no
        revision goes back, unless the room has gone in between."""
        self.seen.append((name, arguments, answer))
        now = answer.standing if isinstance(answer, Seat | Registered) else answer
        if answer is Code.NO_ROOM or answer is False or getattr(answer, "made_anew", False):
            self._last = None
        if isinstance(now, Standing):
            if self._last is not None:
                assert now.revision >= self._last.revision, self.seen
                if now.revision == self._last.revision:
                    assert attrs.evolve(now, reaped=False, held=None) == self._last, self.seen
            # A room that nobody is in may be gone by the next step.
            self._last = attrs.evolve(now, reaped=False, held=None) if now.participants else None

    def _entry(self, **over):
        choose = self._random.choice
        fresh = {
            "member_id": choose(self._members),
            "lease": choose(self._leases),
            "label_number": choose((0, 0, 0, 2, 3, 5)),
        }
        self._entries.append(self._case.entry(**(fresh | over)))
        return self._entries[-1]

    def _known(self):
        """One who was there lately, more often than not still is."""
        return self._random.choice(self._entries[-5:])

    def _newcomer(self):
        token = self._random.choice(self._tokens)
        named = {"token_id": token.id, "token_expires_ms": token.expires_ms}
        member_id = self._case.name("member")
        self._members[self._random.randrange(5)] = member_id
        return "join", (self._room, self._entry(member_id=member_id, **named))

    def _returning(self):
        return "join", (self._room, self._entry(generation=self._random.randrange(1, 4)))

    def _leave(self):
        member_id = self._random.choice((self._known().member_id, *self._members))
        entry = self._random.choice(
            [entry for entry in self._entries if entry.member_id == member_id] or self._entries
        )
        return "leave", (self._room, entry.member_id, entry.hold, self._random.random() < 0.3)

    def _renew(self):
        return "renew", (self._room, self._random.choice(self._leases))

    def _register(self):
        choose = self._random.choice
        members = {entry.member_id: entry for entry in [self._known() for _ in range(3)]}
        if self._random.random() < 0.3:
            entry = self._entry(generation=self._random.randrange(4))
            members[entry.member_id] = entry
        if self._random.random() < 0.1:
            members = {}
        former = choose(self._leases)
        if self._random.random() < 0.3:
            self._leases[self._random.randrange(4)] = self._case.name("lease")
        spent = self._random.sample(self._tokens, choose((0, 0, 1, 2)))
        registration = self._case.registration(
            former,
            *members.values(),
            lease=choose(self._leases),
            revision=self._random.randrange(20),
            number=self._random.randrange(8),
            qr=choose((None, *self._tokens)),
            spent=tuple((token.id, token.expires_ms) for token in spent),
        )
        return "register", (self._room, registration)

    def _exists(self):
        return "exists", (self._room,)

    def _rotate_qr(self):
        stale, fresh = self._random.sample(self._tokens, 2)
        return "rotate_qr", (self._room, fresh, stale.id)
