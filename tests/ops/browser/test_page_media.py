"""Pictures and files in the page: cut, sealed, put together, refused, and never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ops.browser.modules import Modules, page_modules  # noqa: F401 - a fixture
from twisted_relay.client.cipher import to_base64url

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests/client/vectors.json").read_text(encoding="utf-8"))


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
