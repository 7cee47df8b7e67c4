"""One room on several instances: one order, one count, one token, whoever is where."""

from __future__ import annotations

import time

import pytest

ENTERED = "this person has entered the chat with the name "


@pytest.fixture(scope="module")
def cluster(new_cluster):
    cluster = new_cluster(
        ROOM_MAX_PARTICIPANTS=8, MAX_ROOM_CREATES_PER_IP_PER_MIN=60, ROOM_EMPTY_GRACE_MS=500
    )
    cluster.grow(3)
    return cluster


@pytest.fixture
def three(cluster):
    """Three instances that nobody is on."""
    yield cluster.relays[:3]
    cluster.hang_up()


def _published(cluster):
    """How many messages Redis passed on so far."""
    text = cluster.redis.command("INFO", "commandstats").decode()
    counts = dict(line.split(":", 1) for line in text.split() if ":" in line)
    found = counts.get("cmdstat_publish", "calls=0")
    return int(found.split("calls=")[1].split(",")[0])


def _scripts(cluster):
    """How many scripts Redis ran so far."""
    text = cluster.redis.command("INFO", "commandstats").decode()
    lines = [line for line in text.split() if line.startswith(("cmdstat_eval", "cmdstat_fcall"))]
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines)


# One order.


def test_trap_01_six_members_on_three_instances_hear_one_order(three, people):
    party = people.party()
    members = party.gather(*three, *three)
    party.chatter(members, 150, 5.0)
    party.settled()
    party.check()
    sequences = [stay.sequence() for stay in members]
    assert len(sequences[0]) == 900
    assert all(sequence == sequences[0] for sequence in sequences)


def test_one_order_with_media_pings_comings_and_goings(three, people):
    party = people.party()
    members = party.gather(*three, *three[:2])
    party.chatter(members, 60, 4.0, say=5, show=3, ping=2)
    for number in range(6):
        relay = three[number % 3]

        def visit(relay=relay):
            guest = party.ask(relay)
            people.after(0.2, lambda: party.chatter([guest], 15, 0.3, say=2, show=1, ping=1))
            people.after(0.6, lambda: guest.here and guest.leave())

        people.after(0.4 + 0.5 * number, visit)
    party.settled()
    party.check()
    guests = party.stays[5:]
    assert all(guest.frames("LEFT") for guest in guests)
    assert sum(len(guest.said) for guest in guests) > 60
    party.counted(5)


def test_local_and_spanning_and_back_many_times_under_a_flow_of_messages(three, people):
    party = people.party()
    here, elsewhere = three[0], three[1:]
    members = party.gather(here, here)
    party.chatter(members, 500, 5.0, say=5, show=1)
    ends = [lambda s: s.leave(), lambda s: s.client.close(), lambda s: s.client.abort()]
    for number in range(24):
        relay = elsewhere[number % 2]
        end = ends[number % 3]

        def visit(relay=relay, end=end):
            guest = party.ask(relay)
            party.chatter([guest], 5, 0.15)
            people.after(people.random.uniform(0.02, 0.3), lambda: end(guest))

        people.after(people.random.uniform(0, 4.8), visit)
    party.settled()
    party.counted(2)
    party.check()
    assert sum(len(stay.sequence()) for stay in party.stays[2:]) > 100


def test_members_who_join_from_everywhere_at_once_are_counted_and_hear_each_other(three, people):
    party = people.party()
    party.create(three[0])
    tokens = [three[n % 3].http_token(party.room_id) for n in range(12)]
    asked = [party.ask(three[n % 3], token) for n, token in enumerate(tokens)]
    people.until(lambda: all(s.joined or s.refused for s in asked), "twelve answers")
    assert [s.refused for s in asked if s.refused] == ["ERR_ROOM_FULL"] * 5
    party.counted(8)
    labels = [stay.label for stay in party.here]
    assert len(set(labels)) == 8, labels
    party.chatter(party.here, 10, 0.5, say=2, show=1)
    party.settled()
    party.check()


def test_joined_means_that_everybody_hears_one_from_now_on(three, people):
    """The first word after JOINED is heard by all, and what all others say then is heard."""
    party = people.party()
    party.gather(three[0], three[0])
    for number in range(5):
        guest = party.join(three[1 + number % 2])
        for stay in party.here:
            stay.say()
        party.settled()
        party.check()
        assert len(guest.sequence()) == len(party.here)


# Redis and messages.


def test_trap_10_messages_of_a_room_on_one_instance_never_touch_redis(cluster, three, people):
    party = people.party()
    party.gather(three[0], three[0])
    cluster.redis.command("CONFIG", "RESETSTAT")
    party.chatter(party.here, 150, 0.5, say=4, show=1)
    party.settled()
    assert _published(cluster) == 0
    assert _scripts(cluster) < 10  # renewals
    guest = party.join(three[1])
    before = _published(cluster)
    party.chatter(party.here, 100, 0.5, say=4, show=1)
    scripts = _scripts(cluster)
    party.settled()
    assert 0 < _published(cluster) - before <= 320, "a message is published once at most"
    assert _scripts(cluster) - scripts < 10, "and is no work on any key"
    guest.leave()
    party.counted(2)

    def quiet():
        before = _published(cluster)
        for stay in party.here:
            stay.say()
        party.settled()
        return _published(cluster) == before

    people.until(quiet, "a room that is local again")
    before = _published(cluster)
    party.chatter(party.here, 100, 0.3)
    party.settled()
    assert _published(cluster) == before
    party.check()


# What one is told.


def test_a_joiner_on_another_instance_is_told_in_the_old_order(three, people):
    party = people.party()
    owner = party.create(three[0], label="Ann")
    guest = party.join(three[1], label="Bob")
    people.until(lambda: "ROOM_STATS" in guest.kinds(), "the count")
    assert "re" not in guest.client.hello
    assert guest.kinds("QR_ROTATED") == ["JOINED", "SYSTEM_MSG", "ROOM_STATS"]
    assert guest.texts() == [ENTERED + "Bob"]
    party.counted(2)
    assert owner.texts() == [ENTERED + "Bob"]
    assert owner.kinds("QR_ROTATED")[-2:] == ["SYSTEM_MSG", "ROOM_STATS"]


@pytest.mark.parametrize("end", ["leave", "close", "abort"])
def test_trap_01_members_elsewhere_are_told_of_comings_and_goings(three, people, end):
    party = people.party()
    owner, other = party.gather(three[0], three[2])
    guest = party.join(three[1], label="Zoe")
    party.counted(3)
    if end == "leave":
        guest.leave()
    else:
        getattr(guest.client, end)()
    people.until(lambda: guest.frames("LEFT") or guest.ended, "the end")
    party.counted(2)
    for stay in (owner, other):
        assert stay.texts()[-2:] == [ENTERED + "Zoe", "Zoe has left the chat"]
        assert stay.kinds("QR_ROTATED")[-4:] == ["SYSTEM_MSG", "ROOM_STATS"] * 2
        assert [f["body"]["participants"] for f in stay.frames("ROOM_STATS")][-2:] == [3, 2]
        assert all(f["body"]["max"] == 8 for f in stay.frames("ROOM_STATS"))


def test_a_member_that_comes_back_on_another_instance_has_its_seat(three, people):
    party = people.party()
    owner = party.create(three[0])
    guest = party.join(three[1], label="Bob")
    party.counted(2)
    guest.client.abort()
    people.until(lambda: owner.count == 1, "the loss")
    told = len(owner.texts())
    back = party.join(three[2], guest.next_token)
    assert (back.member_id, back.label, back.joined["resumed"]) == (guest.member_id, "Bob", True)
    party.counted(2)
    back.say()
    party.settled()
    party.check()
    assert len(owner.texts()) == told, "no SYSTEM_MSG for one who comes back"
    assert back.texts() == []


def test_a_ghost_on_another_instance_is_replaced_even_in_a_full_room(three, people):
    party = people.party()
    members = party.gather(*three, *three, three[0], three[0])
    ghost = members[1]
    told = [len(stay.texts()) for stay in members]
    back = party.join(three[2], ghost.next_token)
    assert (back.member_id, back.label) == (ghost.member_id, ghost.label)
    assert back.joined["resumed"] is True
    people.until(lambda: ghost.ended, "the end of the ghost")
    assert ghost.ended == (1008, "replaced")
    party.counted(8)
    party.chatter(party.here, 5, 0.1)
    party.settled()
    party.check()
    assert [len(stay.texts()) for stay in members] == told
    assert max(f["body"]["participants"] for s in members for f in s.frames("ROOM_STATS")) == 8


def test_a_seat_that_changes_instances_under_a_flow_of_messages(three, people):
    """Taken over again and again while the ghost itself talks: still one order, and no holes."""
    party = people.party()
    party.gather(*three)
    party.chatter(party.here[:2], 200, 3.0, say=3, show=1)
    wanderer = party.here[2]
    for number in range(10):
        party.chatter([wanderer], 8, 0.2)
        people.spend(0.2)
        wanderer = party.join(three[number % 3], wanderer.next_token)
    party.settled()
    party.counted(3)
    party.check()
    assert [s.ended for s in party.stays if s.ended] == [(1008, "replaced")] * 10


# Tokens, labels, limits.


def test_a_spent_qr_token_is_followed_by_one_token_for_the_whole_room(three, people):
    party = people.party()
    owner = party.create(three[0])
    token = party.room["qrToken"]
    for number in range(5):
        party.join(three[(1 + number) % 3], token)
        people.until(
            lambda spent=token: len(_shown(party)) == 1 and not {"", spent} & _shown(party),
            "one fresh token",
        )
        token = _shown(party).pop()
    assert _same_order([_tokens(stay) for stay in party.here])
    assert len(_tokens(owner)) == 5


def _tokens(stay):
    return [frame["body"]["qrToken"] for frame in stay.frames("QR_ROTATED")]


def _shown(party):
    """The tokens that members see now."""
    return {_tokens(stay)[-1] if _tokens(stay) else "" for stay in party.here}


def _same_order(lists):
    """Whether each list is the end of the longest one."""
    longest = max(lists, key=len)
    return all(longest[len(longest) - len(some) :] == some for some in lists)


def test_rotation_shows_one_token_at_a_time_on_all_instances(cluster, people):
    two = cluster.grow(2, QR_ROTATION_MS=700)
    party = people.party()
    first, second = party.gather(*two)
    people.until(lambda: all(len(_tokens(s)) >= 4 for s in (first, second)), "four rotations")
    people.until(lambda: len(_shown(party)) == 1, "one token")
    tail = _tokens(second)[-4:]
    assert _tokens(first)[-4:] == tail, "the same tokens in the same order"
    assert len(set(tail)) == 4
    for stay in party.here:
        expiries = [frame["body"]["qrExpUnixMs"] for frame in stay.frames("QR_ROTATED")]
        assert expiries == sorted(expiries)
    party.check()
    cluster.hang_up()
    for relay in two:
        relay.stop()


def _code(client, room_id, token):
    client.send("JOIN_REQUEST", roomId=room_id, token=token)
    frame = client.next()
    return "JOINED" if frame["t"] == "JOINED" else frame["body"]["code"]


def test_a_token_is_spent_on_all_instances(three, people):
    party = people.party()
    party.create(three[0])
    token = three[1].http_token(party.room_id)
    party.join(three[1], token)
    for relay in three:
        assert _code(relay.connect(), party.room_id, token) == "ERR_TOKEN_REPLAY"


def test_trap_24_a_full_room_burns_no_token_on_any_instance(three, people):
    party = people.party()
    party.gather(*three, *three, *three[:2])
    token = three[0].http_token(party.room_id)
    for relay in three:
        assert _code(relay.connect(), party.room_id, token) == "ERR_ROOM_FULL"
    party.here[1].leave()
    party.counted(7)
    party.join(three[2], token)
    party.counted(8)


def test_a_next_token_dies_with_the_use_of_a_later_one_anywhere(three, people):
    party = people.party()
    party.create(three[0])
    first = party.join(three[1])
    second = party.join(three[2], first.next_token)
    third = party.join(three[0], first.next_token)
    assert third.member_id == second.member_id
    party.join(three[1], third.next_token)
    for relay in three:
        assert _code(relay.connect(), party.room_id, first.next_token) == "ERR_TOKEN_REPLAY"


def test_automatic_labels_are_unique_across_instances_also_after_churn(three, people):
    party = people.party()
    party.gather(*three)
    for number in range(6):
        party.join(three[number % 3])
        leaver = party.here[people.random.randrange(len(party.here))]
        leaver.leave()
        people.until(lambda leaver=leaver: not leaver.here, "LEFT")
        labels = [stay.label for stay in party.here]
        assert len(set(labels)) == len(labels), labels


def test_a_room_made_over_http_is_everywhere(three, people):
    party = people.party()
    party.room_id = three[0].http("POST", "/rooms").json["roomId"]
    first = party.join(three[1])
    assert (first.label, first.joined["participants"]) == ("P1", 1)
    people.until(lambda: first.frames("QR_ROTATED"), "its QR token")
    party.join(three[2], _tokens(first)[-1])
    party.counted(2)


def test_the_last_leave_anywhere_ends_the_room_everywhere(three, people, wire):
    party = people.party()
    first, second = party.gather(three[0], three[1])
    first.leave()
    people.until(lambda: second.count == 1, "the first LEAVE")
    second.leave()
    people.until(lambda: second.frames("LEFT"), "LEFT")
    for relay in three:
        assert relay.http("GET", f"/rooms/{party.room_id}/token").status == 404
        assert _code(relay.connect(), party.room_id, wire.mint(party.room_id)) == "ERR_NO_ROOM"


def test_an_empty_room_waits_for_its_grace_wherever_its_last_member_was(three, people, wire):
    party = people.party()
    first, second = party.gather(three[0], three[1])
    first.client.abort()
    people.until(lambda: second.count == 1, "the first loss")
    began = time.monotonic()
    second.client.abort()
    path = f"/rooms/{party.room_id}/token"
    wire.poll(lambda: three[2].http("GET", path).status == 404, "the end of the room")
    assert time.monotonic() - began > 0.4


def test_room_creation_is_limited_for_an_address_across_instances(three):
    began = time.monotonic()
    statuses = []
    for number in range(90):
        statuses.append(three[number % 3].http("POST", "/rooms", source="127.3.3.3").status)
    refilled = time.monotonic() - began + 1
    assert 60 <= statuses.count(200) <= 60 + refilled
    assert statuses.count(429) == 90 - statuses.count(200)
    for relay in three:
        client = relay.connect(source="127.3.3.3")
        client.send("ROOM_CREATE")
        if client.next()["t"] != "ROOM_CREATED":
            break
    else:
        pytest.fail("a limit over HTTP alone")
    assert three[0].http("POST", "/rooms", source="127.3.3.4").status == 200


def test_counts_are_in_the_metrics_of_each_instance(three, people, wire):
    party = people.party()
    party.gather(three[0], three[0], three[1])
    for relay, members in zip(three, (2, 1, 0), strict=True):
        metrics = relay.metrics()
        assert metrics["members_active"] == members
        assert metrics["rooms_active"] == (1 if members else 0)
        assert metrics["redis_ready"] == 1
        assert metrics["redis_connects"] >= 1
        assert metrics["redis_latency_seconds_count"] > 0
