"""Charts as inline SVG that stretches: lines keep their width, and all text is HTML beside the drawing.

Coordinates are 0 to 1000 across and down; the drawing is stretched to its box, texts are placed in percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

import numpy as np

from autotrader.core.panel import Array

SIZE = 1000.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to places: low at the bottom, high at the top. log: by ratio instead of by difference."""

    low: float
    high: float
    log: bool = False

    def place(self, values: Array) -> Array:
        """0 at the top (high) to 1000 at the bottom (low)."""
        low, high = self.low, self.high
        if self.log:
            low, high, values = math.log(low), math.log(high), np.log(values)
        return np.asarray(SIZE * (1.0 - (values - low) / ((high - low) or 1.0)), dtype=np.float64)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the range."""
        if self.log:
            steps = [m * 10.0**e for e in range(-3, 13) for m in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)]
            inside = [step for step in steps if self.low <= step <= self.high]
            return inside if len(inside) >= 2 else Scale(self.low, self.high).ticks(count)
        raw = (self.high - self.low) / count
        if not raw > 0.0:
            return [self.low]
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [tick * step for tick in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale_over(*series: Array, zero: bool = False) -> Scale:
    """A scale that holds all values, with some room; by ratio where the largest is over three times the smallest."""
    low = min(float(np.min(each)) for each in series)
    high = max(float(np.max(each)) for each in series)
    if zero:
        return Scale(min(low, 0.0), max(high, 0.0) or 1.0)
    if low > 0.0 and high / low > 3.0:
        return Scale(low / 1.05, high * 1.05, log=True)
    room = 0.05 * (high - low) or abs(high) * 0.01 or 1.0
    return Scale(low - room, high + room)


def across(count: int) -> Array:
    """The places of `count` sessions."""
    return np.linspace(0.0, SIZE, count) if count > 1 else np.array([SIZE / 2])


def line(x: Array, y: Array, kind: str) -> str:
    """kind: its CSS class."""
    return f'<path class="{kind}" d="M{_points(x, y)}"/>'


def area(x: Array, y: Array, floor: float, kind: str) -> str:
    """Filled from the curve to `floor`."""
    closed = f"L{x[-1]:.1f},{floor:.1f}L{x[0]:.1f},{floor:.1f}Z"
    return f'<path class="{kind}" d="M{_points(x, y)}{closed}"/>'


def dots(x: Array, y: Array, kind: str) -> str:
    """Round whatever the stretch: lines of no length with round ends."""
    marks = "".join(f"M{a:.1f},{b:.1f}h0" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<path class="dots {kind}" d="{marks}"/>' if marks else ""


def bar(left: float, right: float, top: float, bottom: float, kind: str, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0.0):.1f}" '
        f'height="{max(bottom - top, 0.0):.1f}"><title>{escape(title)}</title></rect>'
    )


def _points(x: Array, y: Array) -> str:
    return "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at an axis, in percent of it."""

    at: float
    text: str


def frame(
    name: str,
    drawing: str,
    height: int,
    left: Sequence[Mark],
    below: Sequence[Mark] = (),
    label: str = "",
) -> str:
    """A chart: the drawing with its grid and its texts. height: CSS pixels. label: what it shows, for those who hear.

    left, below: the marks of the two axes, from the top and from the left.
    """
    grid = "".join(f'<path class="grid" d="M0,{m.at * 10:.1f}H1000"/>' for m in left)
    grid += "".join(f'<path class="grid" d="M{m.at * 10:.1f},0V1000"/>' for m in below)
    texts = "".join(f'<span class="y" style="top:{m.at:.2f}%">{escape(m.text)}</span>' for m in left)
    texts += "".join(f'<span class="x" style="left:{m.at:.2f}%">{escape(m.text)}</span>' for m in below)
    return (
        f'<div class="chart" data-chart="{escape(name)}" style="height:{height}px" role="img" '
        f'aria-label="{escape(label)}"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
        f"{grid}{drawing}</svg>{texts}</div>"
    )


def marks(scale: Scale, show: Callable[[float], str], count: int = 5) -> list[Mark]:
    """The ticks of a scale, down from the top."""
    ticks = scale.ticks(count)
    places = scale.place(np.array(ticks, dtype=np.float64)) / 10.0
    return [Mark(at, show(tick)) for tick, at in zip(ticks, places.tolist(), strict=True)]


def day_marks(days: Sequence[date]) -> list[Mark]:
    """About eight beginnings of years, quarters or months; below two months every few sessions."""
    count = len(days)
    months = (days[-1].year - days[0].year) * 12 + days[-1].month - days[0].month
    if months < 2:
        step = max(1, count // 6)
        chosen, pattern = list(range(0, count, step)), "%d %b"
    else:
        each = next((n for n in (1, 2, 3, 6, 12, 24, 60) if months / n <= 8), 120)
        pattern = "%Y" if each >= 12 else "%b %Y"
        chosen = [
            i for i in range(1, count)
            if days[i].month != days[i - 1].month and (days[i].year * 12 + days[i].month - 1) % each == 0
        ]  # fmt: skip
    places = across(count) / 10.0
    return [Mark(float(places[i]), days[i].strftime(pattern)) for i in chosen]
