"""A QR code in characters: two rows of it in each row of the terminal."""

import segno

_BORDER = 2  # modules; ISO/IEC 18004 asks for four, cameras make do, and terminals are small
_BLOCKS = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
# Black on white whatever the terminal's colours are: a camera may not read the inverse.
_COLOURS, _PLAIN = "\x1b[30;107m", "\x1b[0m"


def qr_rows(text: str) -> list[str]:
    """The rows of the code for ``text``, each of one width; dark modules are drawn. No colours."""
    code = segno.make(text, error="l", micro=False)
    modules = [list(row) for row in code.matrix_iter(border=_BORDER)]
    if len(modules) % 2:
        modules.append([0] * len(modules[0]))
    return [
        "".join(_BLOCKS[bool(upper), bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(modules[::2], modules[1::2], strict=True)
    ]


def coloured(rows: list[str]) -> str:
    """The rows as one text for a terminal that knows colours."""
    return "\n".join(f"{_COLOURS}{row}{_PLAIN}" for row in rows)
