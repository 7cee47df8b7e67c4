"""The plays find what is wrong: with one part of the relay broken, a promise is soon missed."""

import pytest
from plays import PROFILES, plan, verdict
from simulated_links import SimStore

from twisted_relay.core.bus import Message
from twisted_relay.core.span import Span
from twisted_relay.engine.effects import Effects
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.place import Place
from twisted_relay.engine.spans import Spans

MOST_PLAYS = 100


def is_found(promise, *profile):
    first = PROFILES.index(profile)
    seeds = range(first, first + MOST_PLAYS * len(PROFILES), len(PROFILES))
    return any(
        complaint.startswith(promise)
        for seed in seeds
        for complaint in verdict(seed, plan(seed)).complaints
    )


def nothing(*args, **kwargs):
    return None


def test_nobody_is_told_of_gaps(monkeypatch):
    monkeypatch.setattr(Place, "gap", nothing)
    assert is_found("silent hole", "bus")


def test_messages_do_not_cross(monkeypatch):
    update = Span._update

    def always_local(span):
        update(span)
        span.local = True

    monkeypatch.setattr(Span, "_update", always_local)
    assert is_found("silent hole")


def test_ones_own_words_are_handed_out_before_the_channel_says_so(monkeypatch):
    send, deliver = Span._send, Span._deliver

    def send_and_hand_out(span, said):
        if isinstance(said.item, Message):
            span._port.hand_out(said.item)
            span._port.settle(said, True)
        send(span, said)

    def deliver_once(span, said):
        if not isinstance(said.item, Message):
            deliver(span, said)

    monkeypatch.setattr(Span, "_send", send_and_hand_out)
    monkeypatch.setattr(Span, "_deliver", deliver_once)
    assert is_found("one order")


def test_words_are_handed_out_when_sent_and_when_heard(monkeypatch):
    send = Span._send

    def send_and_hand_out(span, said):
        if isinstance(said.item, Message):
            span._port.hand_out(said.item)
        send(span, said)

    monkeypatch.setattr(Span, "_send", send_and_hand_out)
    assert is_found("at most once")


def test_what_is_refused_is_not_answered(monkeypatch):
    settled = Effects.settled

    def settled_if_handed(effects, said, handed):
        if handed:
            settled(effects, said, handed)

    monkeypatch.setattr(Effects, "settled", settled_if_handed)
    assert is_found("answers", "bus")


def test_leaves_do_not_reach_the_store(monkeypatch):
    async def leave(store, room_id, member_id, hold, for_good, token_id=None):
        return None

    monkeypatch.setattr(MemoryStore, "leave", leave)
    # The seats are found out and given back by themselves, though not without a GAP.
    assert is_found("no trouble")


def test_the_dead_are_not_reaped(monkeypatch):
    monkeypatch.setattr(SimStore, "reaps", False)
    assert is_found("seats", "deaths")


def test_counts_are_not_told(monkeypatch):
    monkeypatch.setattr(Place, "count", nothing)
    assert is_found("counts")


def test_who_went_is_not_told(monkeypatch):
    monkeypatch.setattr(Place, "left", nothing)
    assert is_found("roster")


def test_a_token_serves_twice(monkeypatch):
    monkeypatch.setattr(MemoryStore, "_is_replay", lambda *args: False)
    assert is_found("token")


def test_other_instances_do_not_hear_of_the_qr_token(monkeypatch):
    monkeypatch.setattr(Place, "show", nothing)
    assert is_found("qr")


def test_places_are_kept_for_ever(monkeypatch):
    monkeypatch.setattr(Spans, "let_go", nothing)
    assert is_found("left over")


@pytest.mark.parametrize("profile", PROFILES, ids="-".join)
def test_nothing_is_found_in_the_relay_as_it_is(profile):
    first = PROFILES.index(profile)
    for seed in range(first, first + 3 * len(PROFILES), len(PROFILES)):
        assert verdict(seed, plan(seed)).complaints == []
