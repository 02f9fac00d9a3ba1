"""Line plots as inline SVG: no script, no font, no network; colors come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 110, 28, 40


@dataclass(frozen=True)
class Series:
    """A line through points (x, y). kind: a class of the style sheet; label: at its end, and as a tool tip."""

    label: str
    points: Sequence[tuple[float, float]]
    kind: str
    labelled: bool = False


@dataclass(frozen=True)
class Plot:
    """Lines over one pair of axes. marks: single points with a note. ticks: places on the x axis to point out."""

    x_label: str
    y_label: str
    series: Sequence[Series]
    marks: Sequence[tuple[float, float, str]] = ()
    ticks: Sequence[tuple[float, str]] = ()


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def svg(plot: Plot) -> str:
    """The plot as an ``svg`` element. At least one series has a point."""
    xs = [x for series in plot.series for x, _ in series.points] + [x for x, _ in plot.ticks]
    ys = [y for series in plot.series for _, y in series.points]
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)

    def across(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.y_label)}">']
    bottom = HEIGHT - BOTTOM
    for y in ticks(y_low, y_high):
        parts.append(f'<path class="grid" d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, up(y) + 4, f"{y:g}", "end"))
    for x in ticks(x_low, x_high, 8):
        parts.append(f'<path class="grid" d="M{across(x):.1f} {bottom}v4"/>')
        parts.append(_text(across(x), bottom + 17, f"{x:g}", "middle"))
    for x, note in plot.ticks:
        parts.append(f'<path class="tick" d="M{across(x):.1f} {TOP}V{bottom}"><title>{escape(note)}</title></path>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, plot.x_label, "middle"))
    parts.append(_text(4, 12, plot.y_label, "start"))
    for series in plot.series:
        way = "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in series.points)
        parts.append(f'<path class="line {series.kind}" d="{way}"><title>{escape(series.label)}</title></path>')
        if series.labelled:
            x, y = series.points[-1]
            parts.append(_text(across(x) + 6, up(y) + 4, series.label, "start", series.kind))
    for x, y, note in plot.marks:
        place = f'cx="{across(x):.1f}" cy="{up(y):.1f}"'
        parts.append(f'<circle class="mark" {place} r="4"><title>{escape(note)}</title></circle>')
        parts.append(_text(across(x), up(y) + 16, note, "middle", "mark"))
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
