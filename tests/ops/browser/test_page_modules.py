"""The page's own modules, each alone, in a real browser: formats, limits and pace.

They agree with the Python client by the vectors of tests/client, with segno on QR codes, and with
the relay's own buckets on how fast one may send.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twisted_relay.client.cipher import RoomCipher, to_base64url
from twisted_relay.client.words import WORDS, safety_words
from twisted_relay.core.limits import Bucket

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests/client/vectors.json").read_text(encoding="utf-8"))
KEY = base64.urlsafe_b64decode(VECTORS["key"] + "=")


class Modules:
    """Runs a few lines that import the page's modules; what they return comes back."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def run(self, lines: str, **given: Any) -> Any:
        names = ", ".join(given)
        return self._page.evaluate(f"async ({{ {names} }}) => {{ {lines} }}", given)


@pytest.fixture(scope="module")
def modules(browser: Any, common_relay: Any) -> Iterator[Modules]:
    context = browser.new_context()
    page = context.new_page()
    # An address with no page on it, so that nothing but the modules under test runs there.
    page.goto(f"http://127.0.0.1:{common_relay.port}/icon.svg")
    yield Modules(page)
    context.close()


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


@pytest.mark.parametrize("link", VECTORS["badLinks"])
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


# Media


def test_files_are_cut_and_bound_as_in_the_vectors(modules: Modules) -> None:
    media = VECTORS["media"]
    cut, whole = modules.run(
        """const { RoomCipher, sha256Hex } = await import("/cipher.js");
        const { fromBase64, toBase64Url } = await import("/base64.js");
        const { cut, pieceContext, Assembly } = await import("/media.js");
        const cipher = await RoomCipher.of(fromBase64(key));
        const pieces = cut(fromBase64(media.content), media.chunkSize);
        const assembly = new Assembly(media.size);
        assembly.check({ size: media.size, chunkSize: media.chunkSize }, pieces.length);
        for (const { index, sealed } of [...media.pieces].reverse()) {
          const context = (length) => pieceContext(index, length);
          assembly.put(index, await cipher.open(sealed, context));
          assembly.put(index, await cipher.open(sealed, context));
        }
        return [pieces.map((piece, index) => [piece.length, pieceContext(index, piece.length)]),
          [toBase64Url(assembly.whole), await sha256Hex(assembly.whole)]];""",
        key=VECTORS["key"],
        media=media,
    )
    assert cut == [[piece["length"], piece["context"]] for piece in media["pieces"]]
    assert whole == [media["content"], media["sha256"]]


def test_pieces_that_do_not_fit_together_are_refused(modules: Modules) -> None:
    good = {"size": 2500, "chunkSize": 1024}
    refused = modules.run(
        """const { Assembly, MediaError } = await import("/media.js");
        const fails = (action) => {
          try { action(new Assembly(2500)); } catch (fault) { return fault instanceof MediaError; }
          return false;
        };
        const put = (index, length) => fails((assembly) => {
          assembly.check(good, 3);
          assembly.put(index, new Uint8Array(length));
        });
        return [
          fails(() => new Assembly(0)), fails(() => new Assembly(10485761)),
          fails((a) => a.check({ ...good, size: 2501 }, 3)), fails((a) => a.check(good, 4)),
          fails((a) => a.check({ ...good, chunkSize: 1023 }, 3)),
          fails((a) => { a.check(good, 3); a.check({ size: 2500, chunkSize: 1250 }, 2); }),
          put(0, 1023), put(2, 1024), put(3, 1), put(3, 0), put(1e9, 1024),
        ];""",
        good=good,
    )
    assert refused == [True] * 11


def test_pieces_fit_the_relays_frames(modules: Modules) -> None:
    limits = [1024, 3000, 3452, 4096, 65_536, 131_072, 178_000, 262_144, 16_777_216]
    sizes, longest = modules.run(
        """const { chunkSizeFor, fitsOneFrame } = await import("/media.js");
        const { buildFrame, newId } = await import("/frames.js");
        const { sealedLength } = await import("/cipher.js");
        const frame = (lengths) => buildFrame("MEDIA_MSG", {
          roomId: newId(), mime: "application/octet-stream", size: 10485760, chunkSize: 131072,
          mediaId: newId(), part: 1000000, parts: 1000000,
          chunks: lengths.map((length) => "x".repeat(sealedLength(length))),
        }, newId()).length;
        const longest = (limit, chunk) => {
          let [size, above] = [chunk, limit];
          while (above - size > 1) {
            const middle = (size + above) >> 1;
            if (fitsOneFrame(middle, chunk, limit)) size = middle;
            else above = middle;
          }
          const lengths = [];
          for (let at = 0; at < size; at += chunk) lengths.push(Math.min(chunk, size - at));
          return [frame([chunk]) / limit, frame(lengths) / limit];
        };
        const sizes = limits.map((limit) => {
          try { return chunkSizeFor(limit); } catch (fault) { return fault.message; }
        });
        return [sizes, limits.slice(2).map((limit, at) => longest(limit, sizes[at + 2]))];""",
        limits=limits,
    )
    assert sizes[:2] == ["this relay allows no files"] * 2
    assert sizes[2:] == [1024, 1024, 47_104, 96_256, 131_072, 131_072, 131_072]
    assert all(share <= 1 for pair in longest for share in pair)
    assert longest[5][1] > 0.98, "and what fits is used"


def test_only_pictures_are_taken_for_pictures(modules: Modules) -> None:
    kinds = {
        "image/png": b"\x89PNG\r\n\x1a\n....",
        "image/jpeg": b"\xff\xd8\xff\xe0....",
        "image/gif": b"GIF89a....",
        "image/webp": b"RIFF....WEBPVP8 ",
        "image/avif": b"\0\0\0\x20ftypavif",
    }
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    cases = [[mime, to_base64url(content)] for mime, content in kinds.items()]
    cases += [[mime, to_base64url(svg)] for mime in (*kinds, "image/svg+xml", "text/html", "")]
    cases += [["constructor", to_base64url(svg)], ["image/png", ""]]
    taken = modules.run(
        """const { isPicture } = await import("/media.js");
        const { fromBase64 } = await import("/base64.js");
        return cases.map(([mime, content]) => isPicture(mime, fromBase64(content)));""",
        cases=cases,
    )
    assert taken == [True] * 5 + [False] * (len(cases) - 5)


def test_no_name_leads_out_of_the_folder(modules: Modules) -> None:
    names = {
        "plan.pdf": "plan.pdf",
        "../../etc/passwd": "passwd",
        "C:\\Users\\ada\\x.txt": "x.txt",
        ".bashrc": "bashrc",
        "...": "file",
        "": "file",
        "a\u202egnp.exe": "agnp.exe",
        "a\x00b\nc.txt": "abc.txt",
        'we"ird<>|?*:.txt': "weird.txt",
        "x" * 300 + ".tar": "x" * 100 + ".tar",
    }
    safe = modules.run(
        """const { safeName } = await import("/media.js"); return names.map(safeName);""",
        names=list(names),
    )
    assert safe == list(names.values())


RECEIVE = """
  const { RoomCipher, sha256Hex } = await import("/cipher.js");
  const { Receiving } = await import("/receiving.js");
  const { toBase64Url } = await import("/base64.js");
  const { cut, pieceContext } = await import("/media.js");
  const cipher = await RoomCipher.generate();
  const told = [];
  const waits = [];
  const real = [globalThis.setTimeout, globalThis.clearTimeout];
  globalThis.setTimeout = (call, wait) => waits.push({ call, wait });
  globalThis.clearTimeout = (number) => { if (number) waits[number - 1] = null; };
  const receiving = new Receiving(cipher, (event) => told.push(
    { ...event, content: event.content && toBase64Url(event.content), file: undefined }));
  const content = crypto.getRandomValues(new Uint8Array(2500));
  const announce = async (mediaId, more = {}) => receiving.announce("ada", {
    type: "file", id: "i", ts: 1, from: "Ada", mediaId, name: `${mediaId}.bin`, mime: "x/y",
    size: content.length, sha256: await sha256Hex(content), ...more });
  const seal = (index, by = cipher) => {
    const piece = cut(content, 1024)[index];
    return by.seal(piece, pieceContext(index, piece.length));
  };
  const piece = async (mediaId, part, more = {}) => receiving.media("ada", "Ada", {
    mime: "application/octet-stream", size: content.length, chunkSize: 1024, mediaId, part,
    parts: 3, chunks: more.chunks ?? [await seal(part)], ...more });
  const all = async () => { for (const part of [0, 1, 2]) await piece("m", part); };
  const other = async () => seal(0, await RoomCipher.generate());
  const expire = () => waits.filter(Boolean).forEach(({ call, wait }) => wait === 120000 && call());
  try { LINES } finally { [globalThis.setTimeout, globalThis.clearTimeout] = real; }
  return [told, toBase64Url(content), waits.filter(Boolean).length];
"""


def received(modules: Modules, lines: str) -> tuple[list[dict[str, Any]], str, int]:
    """What is told of files while these lines run, the file's content, and timers that are left."""
    told, content, left = modules.run(RECEIVE.replace("LINES", lines))
    return told, content, left


def test_a_file_is_received_in_any_order_of_its_pieces(modules: Modules) -> None:
    told, content, left = received(
        modules,
        """await announce("m");
        for (const part of [2, 0, 0, 1]) await piece("m", part);
        await piece("m", 1);""",
    )
    steps = [(each["type"], each.get("received")) for each in told]
    assert steps[:5] == [
        ("offered", None),
        *(("progress", size) for size in (452, 1476, 1476, 2500)),
    ]
    whole = told[5]
    assert (whole["type"], whole["content"], whole["name"]) == ("received", content, "m.bin")
    assert (whole["from"], whole["mime"], whole["memberId"]) == ("Ada", "x/y", "ada")
    assert told[6:] == [], "a repeat is no news"
    assert left == 0


UNFIT, SEALED = "its pieces do not fit together", "it cannot be decrypted"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            """await announce("m", { sha256: "0".repeat(64) }); await all();""",
            "its checksum is wrong",
        ),
        ("""await announce("m"); receiving.gap();""", "a part of it is missing"),
        ("""await announce("m"); await piece("m", 0, { size: 2501 });""", UNFIT),
        ("""await announce("m"); await piece("m", 0, { parts: 4 });""", UNFIT),
        ("""await announce("m"); await piece("m", 1, { chunks: [await seal(0)] });""", SEALED),
        ("""await announce("m"); await piece("m", 0, { chunks: [await other()] });""", SEALED),
        ("""await announce("m", { size: 10485761 });""", "its size is not allowed"),
        ("""await announce("m"); await piece("m", 0); expire();""", "the rest of it did not come"),
    ],
    ids=["checksum", "gap", "size", "parts", "place", "key", "too large", "patience"],
)
def test_a_file_that_cannot_be_whole_is_given_up(modules: Modules, lines: str, reason: str) -> None:
    told, _, left = received(modules, lines + 'await piece("m", 1);')
    failed = [each for each in told if each["type"] == "failed"]
    assert [each["reason"] for each in failed] == [reason], "once, whatever comes after it"
    assert left == 0
    assert "received" not in [each["type"] for each in told]


def test_four_files_at_once(modules: Modules) -> None:
    told, _, left = received(
        modules, """for (const id of ["a", "b", "c", "d", "e"]) await announce(id);"""
    )
    assert [each["type"] for each in told] == ["offered"] * 4 + ["failed"]
    assert told[4]["reason"] == "too many files at once"
    assert left == 4


def test_who_comes_in_the_middle_of_a_file_is_told_once(modules: Modules) -> None:
    told, _, _ = received(modules, """await piece("m", 1); await piece("m", 2);""")
    assert [each["reason"] for each in told] == ["its sending began before you came"]


def test_pictures_in_one_frame_need_no_announcement(modules: Modules) -> None:
    told, content, _ = received(
        modules,
        """const whole = { mime: "image/png", mediaId: undefined, part: undefined,
          parts: undefined };
        const chunks = await Promise.all([0, 1, 2].map((index) => seal(index)));
        await piece("", 0, { ...whole, chunks });
        await piece("", 0, { ...whole, chunks: chunks.slice(1) });
        await piece("", 0, { ...whole, chunks: [chunks[0], chunks[2], chunks[1]] });""",
    )
    assert [each["type"] for each in told] == ["received", "failed", "unreadable"]
    assert (told[0]["content"], told[0]["name"]) == (content, "picture.png")


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
    assert shown == ["Ben", "Ada (c123)"], "a name that another member has is marked"
    assert notices == [
        {"came": True, "name": "X has left the chat"},
        {"came": False, "name": "X"},
        None,
    ]
    assert (tidy, nobody) == ("Ab\u200d", "somebody")


# QR codes


@pytest.fixture
def segno(monkeypatch: pytest.MonkeyPatch) -> Any:
    """segno, with the padding of the standard.

    At a codeword's end segno 1.6 pads with another codeword of zeros, which readers pass over.
    """
    import segno
    import segno.encoder

    def pad(buffer: Any, _version: object, length: int) -> None:
        buffer.extend([0] * (-length % 8))

    monkeypatch.setattr(segno.encoder, "write_padding_bits", pad)
    return segno


def rows(code: Any) -> list[str]:
    return ["".join("1" if module else "0" for module in row) for row in code.matrix]


DRAW = """const { qrCode } = await import("/qr.js");
  const draw = (text, mask) => {
    const { version, mask: taken, rows } = qrCode(text, mask);
    return [version, taken, rows.map((row) => row.join(""))];
  };
"""
#: One content for each version: as long as it holds with error correction M.
CAPACITIES = [
    14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412, 450, 504, 560, 624, 666,
    711, 779, 857, 911, 997, 1059, 1125, 1190, 1264, 1370, 1452, 1538, 1628, 1722, 1809, 1911,
    1989, 2099, 2213, 2331,
]  # fmt: skip


def _content(length: int) -> str:
    """Letters that look random, and are always the same."""
    digest = hashlib.shake_128(str(length).encode()).digest(length)
    return base64.urlsafe_b64encode(digest).decode()[:length]


def test_qr_codes_of_every_version_are_those_of_segno(modules: Modules, segno: Any) -> None:
    lengths = [*CAPACITIES, *(capacity + 1 for capacity in CAPACITIES[:12])]
    contents = [_content(length) for length in lengths]
    drawn = modules.run(DRAW + "return contents.map((text) => draw(text, 3));", contents=contents)
    for content, (version, mask, matrix) in zip(contents, drawn, strict=True):
        code = segno.make_qr(content, error="m", mode="byte", boost_error=False, mask=3)
        assert (version, mask) == (code.version, 3)
        assert matrix == rows(code), f"{len(content)} characters"
    assert [version for version, _, _ in drawn[:40]] == list(range(1, 41))


def test_qr_masks_and_their_choice_are_those_of_segno(modules: Modules, segno: Any) -> None:
    room = VECTORS["links"][0]["roomId"]
    contents = [
        *(f"https://relay.example/#k={to_base64url(os.urandom(32))}&roomId={room}" for _ in "1234"),
        *(_content(length) for length in (1, 13, 60, 200, 500)),
        "http://[::1]:3001/#k=Grüße 你好",
    ]
    drawn = modules.run(
        DRAW
        + """const masks = [0, 1, 2, 3, 4, 5, 6, 7];
        return contents.map((text) => [draw(text), masks.map((mask) => draw(text, mask)[2])]);""",
        contents=contents,
    )
    for content, ((_, chosen, matrix), each) in zip(contents, drawn, strict=True):
        options: dict[str, Any] = {"error": "m", "mode": "byte", "boost_error": False}
        options |= {"encoding": "utf-8"}
        for mask in range(8):
            assert each[mask] == rows(segno.make_qr(content, mask=mask, **options)), mask
        best = segno.make_qr(content, **options)
        assert (chosen, matrix) == (best.mask, rows(best))


def test_what_no_qr_code_holds_is_refused(modules: Modules) -> None:
    fault = modules.run(
        """const { qrCode, TooLongForQr } = await import("/qr.js");
        try { qrCode("x".repeat(2332)); } catch (fault) { return fault instanceof TooLongForQr; }"""
    )
    assert fault is True


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
