"""What a report says: plain numbers and strings, whoever gathered them and however they are shown.

Every part but the title may be missing: a report of a thinning has no training, one of an interrupted run no final
figures. All strings are shown as they are; none is taken for markup.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

Unit = Literal["count", "bytes", "seconds", "share", "number"]
"""How a number is written: 272 k, 1.1 MB, 3.2 ms, 98.1 %, 112.4."""


@frozen
class Figure:
    """One headline: a number before and after; None where it is not known."""

    name: str
    before: float | None
    after: float | None
    unit: Unit
    better: Literal["less", "more"] = "less"
    note: str = ""
    """What the number is of, in a few words."""
    factor: float | None = None
    """How many times as large it was before, where that was measured by itself: latencies are timed in turns."""


@frozen
class Pruned:
    """A dim: of `size` units `kept` are there; `masked` of these are zero, and would leave at the next thinning."""

    name: str
    size: int
    kept: int
    masked: int = 0
    partners: tuple[str, ...] = ()
    """Other modules that write the same units."""
    note: str = ""

    @property
    def gone(self) -> int:
        """How many units left."""
        return self.size - self.kept


@frozen
class Held:
    """One axis of a parameter of which `indices` of `size` indices stay, and the operation and place that hold it."""

    parameter: str
    axis: int
    size: int
    indices: int
    operation: str = ""
    place: str = ""
    more: int = 0
    """How many further places hold it for the same reason."""


@frozen
class Stay:
    """All that stays for one reason."""

    reason: str
    held: tuple[Held, ...]


@frozen
class Proof:
    """Two networks that must compute the same, and the largest difference of their outputs; None: not compared."""

    title: str
    says: str
    relative: float | None
    absolute: float | None
    tolerance: float | None

    @property
    def passed(self) -> bool | None:
        """Whether the difference is within tolerance; None if nothing was compared. NaN is not."""
        if self.relative is None or self.tolerance is None:
            return None
        return self.relative <= self.tolerance


@frozen
class Tally:
    """What one module holds and computes itself, without the modules within it; `shape` of its output."""

    parameters: int
    macs: int
    shape: tuple[int, ...] | None = None


@frozen
class Module:
    """One module before and after; None on a side where it is not."""

    path: str
    type: str
    before: Tally | None
    after: Tally | None


@frozen
class Series:
    """One line of a chart: a value for each place on the x axis, None or NaN where there is none."""

    name: str
    values: tuple[float | None, ...]


@frozen
class Mark:
    """Something that happened at a place on the x axis."""

    x: float
    label: str


@frozen(kw_only=True)
class Chart:
    """Lines over the epochs."""

    title: str
    unit: Unit
    x: tuple[float, ...]
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    x_label: str = "epoch"
    from_zero: bool = False
    """Whether the y axis begins at zero."""


@frozen
class Sheet:
    """A table of texts: the first column names the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Spread:
    """Seconds of one forward pass: the median and the quartiles."""

    median: float
    low: float
    high: float


@frozen(kw_only=True)
class Timing:
    """Two networks timed in turns; `ratio`: how many times as fast the thin one is."""

    before: Spread
    after: Spread
    ratio: float
    inputs: str
    """The shapes of what they were timed on."""
    device: str
    threads: int


@frozen
class Picture:
    """The picture of the network as an SVG document, or why there is none."""

    svg: str = ""
    note: str = ""


@frozen
class Configuration:
    """A file that said what to do, as it was read."""

    name: str
    text: str


@frozen(kw_only=True)
class ReportContent:
    """All that one report shows."""

    title: str
    lead: str = ""
    """One sentence: what was done."""
    warning: str = ""
    """What the reader must know before anything else: the run was interrupted, a proof failed."""
    made: str = ""
    """When, for people."""
    figures: tuple[Figure, ...] = ()
    pruned: tuple[Pruned, ...] = ()
    stays: tuple[Stay, ...] = ()
    cautions: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    charts: tuple[Chart, ...] = ()
    history: Sheet | None = None
    """The same as the charts, as numbers."""
    picture: Picture = field(factory=Picture)
    modules: tuple[Module, ...] = ()
    per: str = "example"
    """What multiply-accumulates are counted for one of."""
    timing: Timing | None = None
    untimed: str = ""
    """Why there is no timing."""
    configuration: Configuration | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """Names and values: seed, device, files."""
    versions: tuple[tuple[str, str], ...] = ()
    """Names and versions of what took part."""
    command: str = ""
    """The command line that makes it again."""
    code: str = ""
    """Python that loads the result."""
