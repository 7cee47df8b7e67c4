"""The page's own modules, each alone, in a real browser: formats, limits and pace.

They agree with the Python client by the vectors of tests/client, and with the relay's own buckets
on how fast one may send. ``test_page_media`` and ``test_page_qr`` have the rest.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.ops.browser.modules import Modules, page_modules  # noqa: F401 - a fixture
from twisted_relay.client.cipher import RoomCipher, to_base64url
from twisted_relay.client.words import WORDS, safety_words
from twisted_relay.core.limits import Bucket

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests/client/vectors.json").read_text(encoding="utf-8"))
KEY = base64.urlsafe_b64decode(VECTORS["key"] + "=")


# Base64


def test_base64_is_that_of_python(modules: Modules) -> None:
    contents = [os.urandom(length) for length in (*range(70), 32_767, 32_768, 100_001)]
    encoded, decoded = modules.run(
        """const { toBase64Url, fromBase64 } = await import("/base64.js");
        const read = texts.map((text) => fromBase64(text));
        return [read.map(toBase64Url), read.map((bytes) => bytes.length)];""",
        texts=[base64.b64encode(content).decode() for content in contents],
    )
    assert encoded == [to_base64url(content) for content in contents]
    assert decoded == [len(content) for content in contents]


def test_what_is_no_base64_is_refused(modules: Modules) -> None:
    bad = ["a", "abcde", "ab c", "a\nb", "ab=c", "äöü", "a*bc"]
    refused = modules.run(
        """const { fromBase64, Base64Error } = await import("/base64.js");
        return texts.filter((text) => {
          try { fromBase64(text); } catch (fault) { return fault instanceof Base64Error; }
        });""",
        texts=bad,
    )
    assert refused == bad


# The cipher, and what it carries


@pytest.mark.parametrize("kind", ["text", "file"])
def test_messages_of_the_vectors_are_read(modules: Modules, kind: str) -> None:
    vector = VECTORS[kind]
    read = modules.run(
        """const { RoomCipher } = await import("/cipher.js");
        const { fromBase64 } = await import("/base64.js");
        const { decodeMessage } = await import("/messages.js");
        const cipher = await RoomCipher.of(fromBase64(key));
        return decodeMessage(await cipher.open(vector.sealed, vector.context));""",
        key=VECTORS["key"],
        vector=vector,
    )
    assert read == json.loads(vector["plaintext"])


def test_a_message_of_another_kind_is_never_text(modules: Modules) -> None:
    plain = [VECTORS["unknown"]["plaintext"], "null", "[]", "7", '"text"', "{", '{"type":"text"}']
    plain += ['{"type":"file","mediaId":"m"}', '{"type":"text","text":5}', "\ud800"]
    unknown = modules.run(
        """const { decodeMessage, UnknownMessage } = await import("/messages.js");
        return texts.filter((text) => {
          try { decodeMessage(new TextEncoder().encode(text)); }
          catch (fault) { return fault instanceof UnknownMessage; }
        }).length;""",
        texts=plain,
    )
    assert unknown == len(plain)


def test_python_opens_what_the_page_seals(modules: Modules) -> None:
    sealed = modules.run(
        """const { RoomCipher, sealedLength, plainRoom } = await import("/cipher.js");
        const { fromBase64 } = await import("/base64.js");
        const cipher = await RoomCipher.of(fromBase64(key));
        const plain = new TextEncoder().encode(text);
        const twice = [await cipher.seal(plain, "chat:v1"), await cipher.seal(plain, "chat:v1")];
        if (twice[0].length !== sealedLength(plain.length)) throw new Error("length");
        if (plainRoom(twice[0].length) !== plain.length) throw new Error("room");
        return twice;""",
        key=VECTORS["key"],
        text="Grüße, 你好",
    )
    assert sealed[0] != sealed[1], "each has a nonce of its own"
    for each in sealed:
        assert RoomCipher(KEY).open(each, b"chat:v1") == "Grüße, 你好".encode()


def test_what_does_not_fit_is_not_opened(modules: Modules) -> None:
    sealed, context = VECTORS["text"]["sealed"], VECTORS["text"]["context"]
    damaged = sealed[:-1] + ("A" if sealed[-1] != "A" else "Q")
    cases = [
        [VECTORS["key"], sealed, "media:v1|0|1"],
        [to_base64url(bytes(32)), sealed, context],
        *([VECTORS["key"], text, context] for text in (damaged, "", "AAAA", sealed[:30], "no!")),
    ]
    refused = modules.run(
        """const { RoomCipher, CipherError } = await import("/cipher.js");
        const { fromBase64 } = await import("/base64.js");
        return Promise.all(cases.map(async ([key, sealed, context]) => {
          const cipher = await RoomCipher.of(fromBase64(key));
          return cipher.open(sealed, context).then(
            () => false, (fault) => fault instanceof CipherError);
        }));""",
        cases=cases,
    )
    assert refused == [True] * len(cases)


def test_a_long_text_becomes_messages_within_the_limit(modules: Modules) -> None:
    texts = ["word " * 4000, "x" * 9000, "👩‍👩‍👧 é\n" * 900, '"\\\n\x01' * 900, "short", "  "]
    limits = {"maxAppCiphertextBytes": 4096, "maxWsMsgBytes": 262_144}
    split, lengths = modules.run(
        """const { splitText, encodeMessage } = await import("/messages.js");
        const { sealedLength } = await import("/cipher.js");
        const { newId } = await import("/frames.js");
        const split = texts.map((text) => splitText(text, "Ada \\u00e9", limits));
        const message = (text) => encodeMessage(
          { type: "text", id: newId(), ts: Date.now(), from: "Ada \\u00e9", text });
        return [split, split.flat().map((part) => sealedLength(message(part).length))];""",
        texts=texts,
        limits=limits,
    )
    assert ["".join(parts) for parts in split] == texts
    assert max(lengths) <= limits["maxAppCiphertextBytes"]
    assert len(split[1]) == 4, "and not in more parts than it takes"
    assert all(part.endswith(" ") for part in split[0]), "between words"
    assert all(part.encode() for parts in split for part in parts), "no character is cut in two"


def test_a_relay_with_no_room_for_a_message_is_told_of(modules: Modules) -> None:
    fault = modules.run(
        """const { splitText } = await import("/messages.js");
        try {
          splitText("hello", "Ada", { maxAppCiphertextBytes: 64, maxWsMsgBytes: 262144 });
        } catch (fault) { return `${fault.name}: ${fault.message}`; }"""
    )
    assert fault == "RangeError: the relay allows no message of this length"


# Safety words


def test_the_safety_words_are_those_of_python(modules: Modules) -> None:
    keys = [KEY, bytes(32), os.urandom(32)]
    listed, words = modules.run(
        """const { WORDS, safetyWords } = await import("/words.js");
        const { fromBase64 } = await import("/base64.js");
        return [WORDS, await Promise.all(keys.map((key) => safetyWords(fromBase64(key))))];""",
        keys=[to_base64url(key) for key in keys],
    )
    assert listed == list(WORDS)
    assert words == [list(safety_words(key)) for key in keys]
    assert words[0] == VECTORS["safetyWords"]


# Links


@pytest.mark.parametrize("vector", VECTORS["links"] + VECTORS["otherLinks"])
def test_links_are_read(modules: Modules, vector: dict[str, Any]) -> None:
    read = modules.run(
        """const { parseInvite, relayAddress } = await import("/invite.js");
        const { toBase64Url } = await import("/base64.js");
        const { roomId, key, token } = parseInvite(` ${link}\\n`);
        return { link, roomId, token, key: toBase64Url(key), relayUrl: relayAddress(link, "") };""",
        link=vector["link"],
    )
    assert read == vector


@pytest.mark.parametrize("vector", VECTORS["links"])
def test_links_are_written(modules: Modules, vector: dict[str, Any]) -> None:
    written = modules.run(
        """const { inviteFragment, pageFolder } = await import("/invite.js");
        const { fromBase64 } = await import("/base64.js");
        return pageFolder(link) + inviteFragment(roomId, fromBase64(key), token);""",
        **{name: vector[name] for name in ("link", "roomId", "key", "token")},
    )
    assert written == vector["link"]


#: The last character of a key has two bits to spare: here they are not zero.
MISTYPED = VECTORS["links"][0]["link"].replace("Gxk&", "Gxl&")
assert VECTORS["links"][0]["link"] != MISTYPED


@pytest.mark.parametrize("link", [*VECTORS["badLinks"], MISTYPED])
def test_what_leads_to_no_room_is_refused_with_a_sentence(modules: Modules, link: str) -> None:
    said = modules.run(
        """const { parseInvite, InviteError } = await import("/invite.js");
        try { parseInvite(link); }
        catch (fault) { return fault instanceof InviteError ? fault.message : ""; }""",
        link=link,
    )
    assert said.endswith(".")
    assert VECTORS["key"][:20] not in said


@pytest.mark.parametrize(
    ("page", "configured", "relay", "token"),
    [
        ("https://a.example/", "", "wss://a.example/ws", "https://a.example/rooms/R%2F1/token"),
        ("http://[::1]:3001/join?x=1#k=2", "", "ws://[::1]:3001/ws", "http://[::1]:3001/rooms/R%2F1/token"),
        ("https://a.example/chat/join", "", "wss://a.example/chat/ws", "https://a.example/chat/rooms/R%2F1/token"),
        ("https://a.example/", " wss://b.example/x/ws ", "wss://b.example/x/ws", "https://b.example/x/rooms/R%2F1/token"),
    ],
)  # fmt: skip
def test_where_the_relay_is(
    modules: Modules, page: str, configured: str, relay: str, token: str
) -> None:
    found = modules.run(
        """const { relayAddress, tokenAddress } = await import("/invite.js");
        const relay = relayAddress(page, configured);
        return [relay, tokenAddress(relay, "R/1")];""",
        page=page,
        configured=configured,
    )
    assert found == [relay, token]


@pytest.mark.parametrize(
    "configured", ["ftp://relay.example/ws", "https://", "javascript:alert(1)"]
)
def test_an_address_that_is_no_relays_is_told_of(modules: Modules, configured: str) -> None:
    found = modules.run(
        """const { relayAddress } = await import("/invite.js");
        return relayAddress("https://a.example/", configured);""",
        configured=configured,
    )
    assert found is None


# Pace


LIMITS = {"maxMsgsPer10s": 200, "maxBytesPer10s": 1_048_576, "maxWsMsgBytes": 262_144}
SEND_ALL = """
  const { Outbox } = await import("/outbox.js");
  const outbox = new Outbox();
  outbox.allow(limits);
  frames.forEach(([kind, bytes], at) => outbox.add({ id: `${at}`, kind, bytes, sent: false }));
  const sent = [];
  for (let now = 5000, turns = 0; turns < 100000; turns++) {
    const { out, wait } = outbox.due(now);
    for (const { id, bytes } of out) sent.push([now, bytes, id]);
    if (wait === null) return sent;
    now += wait;
  }
"""


@pytest.mark.parametrize(
    ("frames", "limits", "least"),
    [
        ([["APP_MSG", 300]] * 1000, {}, 15),
        ([["MEDIA_MSG", 176_000]] * 80, {}, 0.78 * 104_857),
        ([["MEDIA_MSG", 262_144], ["APP_MSG", 90_000]] * 20, {}, 0.78 * 104_857),
        ([["APP_MSG", 300]] * 12, {"maxMsgsPer10s": 1}, 0.08),
        ([["APP_MSG", 60_000]] * 20, {"maxBytesPer10s": 1024, "maxWsMsgBytes": 65_536}, 80),
    ],
    ids=["messages", "pieces", "both", "one message in 10 s", "few bytes"],
)
def test_the_relays_limits_are_kept_and_used(
    modules: Modules, frames: list[Any], limits: dict[str, int], least: float
) -> None:
    limits = LIMITS | limits
    sent = modules.run(SEND_ALL, limits=limits, frames=frames)
    assert len(sent) == len(frames)
    per_10s = limits["maxBytesPer10s"]
    messages = Bucket(limits["maxMsgsPer10s"], limits["maxMsgsPer10s"] / 10, 0)
    # As the relay has it: at least one message of the largest size.
    octets = Bucket(max(per_10s, limits["maxWsMsgBytes"]), per_10s / 10, 0)
    for milliseconds, size, _ in sent:
        assert messages.spend(1, milliseconds / 1000)
        assert octets.spend(size, milliseconds / 1000)
    seconds = (sent[-1][0] - 5000) / 1000
    used = len(sent) if least < 50 and per_10s > 1024 else sum(size for _, size, _ in sent)
    assert used / seconds >= least


def test_what_people_say_overtakes_pieces_of_files(modules: Modules) -> None:
    frames = [["MEDIA_MSG", 170_000]] * 6 + [["APP_MSG", 300]] * 3
    sent = modules.run(SEND_ALL, limits=LIMITS, frames=frames)
    order = [int(number) for _, _, number in sent]
    assert order == [6, 7, 8, 0, 1, 2, 3, 4, 5]


def test_what_is_not_acknowledged_goes_out_again_in_order(modules: Modules) -> None:
    rounds, left = modules.run(
        """const { Outbox } = await import("/outbox.js");
        const outbox = new Outbox();
        const add = (id) => outbox.add({ id, kind: "APP_MSG", bytes: 9, sent: false });
        ["a", "b", "c"].forEach(add);
        const ids = () => outbox.due(0).out.map((message) => message.id);
        const first = ids(), nothing = ids();
        outbox.take("b");
        outbox.again();
        add("d");
        const second = ids();
        outbox.repeat("c");
        outbox.repeat("gone");
        return [[first, nothing, second, ids()], outbox.clear().map((message) => message.id)];"""
    )
    assert rounds == [["a", "b", "c"], [], ["a", "c", "d"], ["c"]]
    assert left == ["a", "c", "d"]


def test_repeats_are_known_by_member_and_id(modules: Modules) -> None:
    repeats = modules.run(
        """const { Repeats } = await import("/outbox.js");
        const repeats = new Repeats(3);
        return ["m1", "m1", "n1", "m2", "m3", "m1"].map(
          ([member, id]) => repeats.isRepeat(member, id));"""
    )
    assert repeats == [False, True, False, False, False, False], "the oldest is forgotten"


def test_waits_double_within_bounds(modules: Modules) -> None:
    low, high, fresh = modules.run(
        """const { Backoff } = await import("/backoff.js");
        const waits = (random) => {
          const backoff = new Backoff(() => random);
          return [Array.from({ length: 40 }, () => backoff.next()), backoff];
        };
        const [low] = waits(0);
        const [high, used] = waits(0.999999999);
        used.reset();
        return [low, high, used.next()];"""
    )
    spans = [min(30_000, 500 * 2**attempt) for attempt in range(40)]
    assert low == [span / 2 for span in spans]
    assert all(0.999 * span < wait <= span for wait, span in zip(high, spans, strict=True))
    assert fresh == high[0]


# People


def test_who_is_there_as_far_as_one_hears(modules: Modules) -> None:
    seen = modules.run(
        """const { Roster, readNotice, tidyName } = await import("/roster.js");
        const roster = new Roster();
        Object.assign(roster, { me: "me", participants: 4 });
        roster.heard("me", "Ada");
        const names = [];
        const look = () => names.push(roster.others());
        look();
        roster.came("Ben");
        look();
        const shown = [roster.heard("b1", "Ben"), roster.heard("c123456", "Ada")];
        look();
        roster.went("Ben");
        roster.participants = 3;
        look();
        // Who was heard first and then takes a name that another has is the one that is marked.
        const late = new Roster();
        late.me = "me";
        for (const [id, name] of [["e123456", "Eve"], ["a123456", "Ada"]]) late.heard(id, name);
        shown.push(late.heard("e123456", "Ada"), late.nameOf("a123456"));
        shown.push(late.heard("y123456", "You"));
        const tidy = [" \\u202eA\\nb\\u200d ", ""].map(tidyName);
        return [names, shown, texts.map(readNotice), ...tidy];""",
        texts=[
            "this person has entered the chat with the name X has left the chat",
            "X has left the chat",
            "maintenance at noon",
        ],
    )
    names, shown, notices, tidy, nobody = seen
    assert [(each["names"], each["unheard"]) for each in names] == [
        ([], 3),
        (["Ben"], 2),
        (["Ben", "Ada (c123)"], 1),
        (["Ada (c123)"], 1),
    ]
    assert shown[:2] == ["Ben", "Ada (c123)"]
    assert shown[2:] == ["Ada (e123)", "Ada", "You (y123)"], (
        "a name that another member has is marked"
    )
    assert notices == [
        {"came": True, "name": "X has left the chat"},
        {"came": False, "name": "X"},
        None,
    ]
    assert (tidy, nobody) == ("Ab\u200d", "somebody")


# The wire


def test_frames_are_written_and_read(modules: Modules) -> None:
    built, read = modules.run(
        """const { buildFrame, parseFrame, newId } = await import("/frames.js");
        const body = { roomId: "r", label: null, token: undefined };
        const frame = buildFrame("JOIN_REQUEST", body, "i");
        return [[frame, new Set(Array.from({ length: 50 }, newId)).size, newId().length],
          texts.map(parseFrame)];""",
        texts=[
            '{"v":1,"t":"ACK","id":"abc","re":"def","body":{},"more":1}',
            '{"v":1,"t":"NEW","id":7,"body":[]}',
            *('{"v":2,"t":"ACK"}', '{"v":1}', "[]", "null", "{", ""),
        ],
    )
    assert json.loads(built[0]) == {"v": 1, "t": "JOIN_REQUEST", "id": "i", "body": {"roomId": "r"}}
    assert built[1:] == [50, 22]
    assert read[0] == {"t": "ACK", "id": "abc", "re": "def", "body": {}}
    assert (read[1]["t"], read[1]["id"], read[1]["body"]) == ("NEW", "", {})
    assert read[2:] == [None] * 6


def test_every_module_has_its_row_in_the_document() -> None:
    named = (ROOT / "docs/web-client.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in (ROOT / "twisted_relay/web").iterdir())
    assert [name for name in files if f"| `{name}` |" not in named] == []


def test_after_a_loss_of_the_whole_room_the_sender_waits_for_the_others(modules: Modules) -> None:
    sent, patience = modules.run(
        """const { Gathering } = await import("/gathering.js");
        const { Sender } = await import("/sender.js");
        const gathering = new Gathering();
        const sender = new Sender();
        const sent = [];
        const link = { unsentBytes: 0, send: (frame) => sent.push(JSON.parse(frame).id) };
        gathering.patience(2);
        gathering.complete(3);
        gathering.lost();
        const patience = [gathering.patience(2)];
        sender.start(link, patience[0]);
        void sender.send("APP_MSG", "message-1", {});
        const early = [...sent];
        const steps = [2, 3, 3].map((there) => gathering.complete(there));
        sender.release();
        gathering.lost();
        patience.push(gathering.patience(3));
        return [[early, steps, sent], patience];""",
    )
    assert sent == [[], [False, True, False], ["message-1"]]
    assert patience == [5_000, 0]
