"""The chart of docs/performance.md: bars for each load, as SVG, with nothing but the figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.harness.loads import ALL, Load
from benchmarks.harness.servers import TITLES
from benchmarks.harness.summary import Summary

COLOURS = {
    "ours": "#1b7f5c",
    "fastify": "#b5532a",
    "socketio": "#c9a227",
    "floor": "#8a8f98",
    "floor-corked": "#5b6270",
}
WIDTH, LEFT, RIGHT, BAR, GAP, TOP, LEGEND = 760, 170, 70, 15, 18, 34, 26
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}"
    ".t{font-weight:600}.v{font-size:11px;fill:#57606a}"
)

Panel = tuple[str, str, str, Sequence[Load]]
"""A title, the name of a figure, the format of its value, and the loads to show it for."""


def panels(loads: Sequence[Load]) -> list[Panel]:
    """Processor time under every load that has messages, and the tail at the fixed rate."""
    single = [load for load in loads if load.instances == 1]
    busy = [load for load in single if load.mode in ("closed", "rate")]
    steady = [load for load in single if load.mode == "rate"]
    return [
        ("Server CPU seconds per million deliveries (less is better)", "cpu_per_million", ".1f",
         busy),
        ("99th percentile, sent to last member, ms (less is better)", "p99_ms", ".1f", steady),
    ]  # fmt: skip


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def _group(
    summary: Summary, load: Load, name: str, form: str, greatest: float, y: float
) -> tuple[list[str], float]:
    """The bars of one load; what is drawn, and where the next one begins."""
    shapes: list[str] = []
    begin = y
    for server in ALL:
        value = summary.value(load.key, server, name)
        if value is None:
            continue
        length = max(value / greatest * (WIDTH - LEFT - RIGHT), 1.0)
        shapes.append(
            f'<rect x="{LEFT}" y="{y:.0f}" width="{length:.1f}" height="{BAR - 2}" '
            f'fill="{COLOURS[server]}"><title>{escape(TITLES[server])}</title></rect>'
        )
        shapes.append(_text(LEFT + length + 5, y + BAR - 4, f"{value:{form}}", "v"))
        y += BAR
    if shapes:
        shapes.insert(0, _text(LEFT - 8, (begin + y) / 2 + 4, load.title, anchor="end"))
        y += GAP
    return shapes, y


def _panel(summary: Summary, panel: Panel, y: float) -> tuple[list[str], float]:
    title, name, form, loads = panel
    values = [summary.value(load.key, server, name) for load in loads for server in ALL]
    greatest = max((value for value in values if value is not None), default=0.0)
    if greatest == 0.0:
        return [], y
    shapes = [_text(12, y + 14, title, "t")]
    y += TOP
    for load in loads:
        drawn, y = _group(summary, load, name, form, greatest, y)
        shapes += drawn
    return shapes, y


def _legend(servers: Sequence[str], y: float) -> list[str]:
    shapes: list[str] = []
    x = 12.0
    for server in servers:
        shapes.append(
            f'<rect x="{x:.0f}" y="{y}" width="11" height="11" fill="{COLOURS[server]}"/>'
        )
        shapes.append(_text(x + 16, y + 10, TITLES[server]))
        x += 34 + 7 * len(TITLES[server])
    return shapes


def draw(summary: Summary, loads: Sequence[Load]) -> str:
    """The whole picture."""
    servers = [name for name in ALL if any(summary.ran(load.key, name) for load in loads)]
    shapes = _legend(servers, 12)
    y = 12.0 + LEGEND
    for panel in panels(loads):
        drawn, y = _panel(summary, panel, y)
        shapes += drawn
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" '
            f'viewBox="0 0 {WIDTH} {y:.0f}" role="img">',
            "<title>The relay beside its peers</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{y:.0f}" fill="#ffffff"/>',
            *shapes,
            "</svg>\n",
        ]
    )
