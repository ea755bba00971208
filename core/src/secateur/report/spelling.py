"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from secateur.report.content import Figure, Unit

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
SPACE = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def spelled(value: float | None, unit: Unit) -> str:
    """A number with its unit.

    >>> [spelled(272474, "count"), spelled(512, "count"), spelled(0.00321, "seconds"), spelled(0.981, "share")]
    ['272\\u202fk', '512', '3.21\\u202fms', '98.1\\u202f%']
    >>> spelled(None, "count")
    '–'
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if unit == "share":
        return f"{100 * value:.1f}{SPACE}%"
    if unit == "seconds":
        return _seconds(value)
    if unit == "number":
        return _digits(value)
    return _prefixed(value, "B" if unit == "bytes" else "")


def exactly(value: float | None, unit: Unit) -> str:
    """A number with all its digits.

    >>> exactly(272474, "count"), exactly(1094.2, "bytes")
    ('272,474', '1,094 bytes')
    """
    if value is None or not math.isfinite(value) or unit not in ("count", "bytes"):
        return spelled(value, unit)
    return f"{value:,.0f}{' bytes' if unit == 'bytes' else ''}"


def change(figure: Figure) -> tuple[str, str]:
    """What became of a number in words, and whether that is good, bad or neither.

    >>> change(Figure("parameters", 400, 100, "count"))
    ('4.0× fewer', 'good')
    >>> change(Figure("accuracy", 0.98, 0.97, "share", better="more"))
    ('\\u22121.0 points', 'bad')
    >>> change(Figure("latency", 2.0, 1.0, "seconds")), change(Figure("latency", 2.0, 1.0, "seconds", factor=1.8))
    (('2.0× faster', 'good'), ('1.8× faster', 'good'))
    """
    before, after = figure.before, figure.after
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return "", "even"
    if figure.unit == "share":
        points = 100 * (after - before)
        text = "unchanged" if abs(points) < 0.05 else f"{_signed(points)} points"
        return text, _tone(points if figure.better == "more" else -points, 0.5)
    if min(before, after) <= 0:
        return ("unchanged", "even") if before == after else ("", "even")
    if figure.unit == "number":
        percent = 100 * (after / before - 1)
        text = "unchanged" if abs(percent) < 0.05 else f"{_signed(percent)}{SPACE}%"
        return text, _tone(percent if figure.better == "more" else -percent, 1.0)
    factor = before / after if figure.factor is None else figure.factor
    less, more = {"count": ("fewer", "more"), "bytes": ("smaller", "larger"), "seconds": ("faster", "slower")}[
        figure.unit
    ]
    if abs(factor - 1) < 0.005:
        return "unchanged", "even"
    return (f"{_times(factor)} {less}", "good") if factor > 1 else (f"{_times(1 / factor)} {more}", "bad")


def first_value(figure: Figure) -> str:
    """The number before, without its unit if that of the number after is the same and no mere thousand.

    >>> first_value(Figure("latency", 0.0489, 0.0202, "seconds")), first_value(Figure("parameters", 2e6, 1e6, "count"))
    ('48.9', '2.00\\u202fM')
    """
    before, after = spelled(figure.before, figure.unit), spelled(figure.after, figure.unit)
    number, _, unit = before.partition(SPACE)
    return number if figure.unit in ("seconds", "share") and unit == after.partition(SPACE)[2] else before


def alike(values: Sequence[float], unit: Unit) -> list[str]:
    """Numbers with one unit and as many decimals for all, as a scale has them.

    >>> alike([0, 100_000, 200_000], "count"), alike([0.0, 2.5, 5.0], "seconds")
    (['0', '100\\u202fk', '200\\u202fk'], ['0', '2.5\\u202fs', '5.0\\u202fs'])
    """
    largest = max(abs(value) for value in values)
    known = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")) if unit == "seconds" else (*PREFIXES, (1.0, ""))
    factor, prefix = next((each for each in known if largest >= each[0]), known[-1])
    end = prefix + ("B" if unit == "bytes" else "")
    shown = [value / factor for value in values]
    texts = [f"{number:,.{decimals(shown)}f}" for number in shown]
    return [
        "0" if not value else f"{text}{SPACE}{end}" if end else text for value, text in zip(values, texts, strict=True)
    ]


def decimals(values: Sequence[float]) -> int:
    """The decimals that some round numbers need."""
    return next((n for n in range(4) if all(abs(value - round(value, n)) < 1e-9 for value in values)), 4)


def duration(seconds: float) -> str:
    """A time that passed.

    >>> duration(4.2), duration(125), duration(7500)
    ('4 s', '2 min 5 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def sentence(text: str) -> str:
    """A text that begins with a capital letter, unless it begins with the name of an operation.

    >>> sentence("it is an output of the model"), sentence("layer_norm averages over it")
    ('It is an output of the model', 'layer_norm averages over it')
    """
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def scientific(value: float | None) -> str:
    """A small difference.

    >>> scientific(2.4e-07), scientific(0.0)
    ('2.4e-07', '0')
    """
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.1e}"


def _times(factor: float) -> str:
    return f"{factor:.2f}×" if factor < 1.1 else f"{factor:.1f}×" if factor < 100 else f"{factor:,.0f}×"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else MINUS}{abs(value):.1f}"


def _tone(gain: float, negligible: float) -> str:
    return "good" if gain > negligible else "bad" if gain < -negligible else "even"


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size >= 1e-4 else f"{value:.1e}"


def _prefixed(value: float, unit: str) -> str:
    for factor, prefix in PREFIXES:
        if abs(value) >= 0.9995 * factor:
            return f"{_three(value / factor)}{SPACE}{prefix}{unit}"
    number = f"{value:.0f}" if value == round(value) else _three(value)
    return f"{number}{SPACE}{unit}" if unit else number


def _three(value: float) -> str:
    """Three digits, and never an exponent."""
    rounded = float(f"{value:.3g}")
    places = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:.{min(places, 6)}f}"


def _seconds(value: float) -> str:
    if value == 0:
        return f"0{SPACE}s"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= factor:
            return f"{_three(value / factor)}{SPACE}{unit}"
    return f"{_three(value / 1e-9)}{SPACE}ns"
