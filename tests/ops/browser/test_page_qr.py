"""The page's own QR codes, module by module, beside segno's."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from typing import Any

import pytest

from tests.ops.browser.modules import Modules, page_modules  # noqa: F401 - a fixture
from twisted_relay.client.cipher import to_base64url


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
    room = "8sVvxL0hGq1n3uVdM2b4Tg"
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


def test_penalties_are_those_of_segno(modules: Modules) -> None:
    from segno.encoder import evaluate_mask

    drawn = random.Random(7)
    matrices = [
        [[int(drawn.random() < dark) for _ in range(size)] for _ in range(size)]
        for size in (21, 25, 33)
        for dark in (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
    ]
    # Rows full of what looks like a finder, at the edges and within.
    line = [1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0]
    matrices.append([line[at:] + line[:at] for at in range(25)])
    points = modules.run(
        """const { penalty } = await import("/qr-penalty.js");
        return matrices.map((rows) => penalty(rows.map((row) => Uint8Array.from(row))));""",
        matrices=matrices,
    )
    assert points == [
        evaluate_mask(tuple(bytearray(row) for row in rows), len(rows), len(rows))
        for rows in matrices
    ]


def test_what_no_qr_code_holds_is_refused(modules: Modules) -> None:
    fault = modules.run(
        """const { qrCode, TooLongForQr } = await import("/qr.js");
        try { qrCode("x".repeat(2332)); } catch (fault) { return fault instanceof TooLongForQr; }"""
    )
    assert fault is True
