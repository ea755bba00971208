"""A table of figures: shown on a console in whatever width there is, or written as CSV or JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen, validators

from secateur.errors import SecateurError, suggestion
from secateur.summaries.fitting import Measured, fitted, folded

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.console import Group as RichGroup
    from rich.table import Table as RichTable

Shape = tuple[int, ...]
Cell = str | int | float | bool | None | Shape | tuple[Shape, ...]
"""What stands in one place; None where there is nothing to say."""

Row = tuple[Cell, ...]

NOTHING = "-"

TEXT_WIDTH = 110
"""Columns of a table that is printed by `print`."""

UNLIMITED = 100_000


@frozen
class Column:
    """One column: its name, the unit its numbers are in, and how they are shown."""

    name: str
    unit: str = ""
    form: str = ""
    """Python's format of its numbers, such as ",d" or ".1%"."""
    zero: str = ""
    """What people see in place of a zero, if anything else."""
    rank: int = 0
    """Where it is too narrow for all columns, those of the highest rank are left out first, those of rank 0 never."""
    compared: bool = False
    """Whether a table of before and after shows it twice."""

    @property
    def header(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def shown(self, cell: Cell) -> str:
        """A cell as people read it; `-` where there is nothing to say."""
        if cell is None:
            return NOTHING
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, int | float):
            return self.zero if self.zero and cell == 0 else format(cell, self.form)
        return plain(cell, sign="×")


def _columns(columns: Iterable[Column]) -> tuple[Column, ...]:
    return tuple(columns)


def _rows(rows: Iterable[Iterable[Cell]]) -> tuple[Row, ...]:
    return tuple(map(tuple, rows))


def _total(row: Iterable[Cell] | None) -> Row | None:
    return None if row is None else tuple(row)


def _notes(notes: Iterable[str]) -> tuple[str, ...]:
    return tuple(notes)


@frozen
class Table:
    """Figures by row and column, with their totals; printable, and the same in CSV and JSON.

    A row holds one cell per column, in the column's unit. `total` is such a row as well.
    """

    title: str
    columns: tuple[Column, ...] = field(converter=_columns, validator=validators.min_len(1))
    rows: tuple[Row, ...] = field(converter=_rows)
    total: Row | None = field(default=None, converter=_total)
    notes: tuple[str, ...] = field(default=(), converter=_notes)
    """Lines that stand below."""

    def __attrs_post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.title}: two columns of one name: {names}")
        for row in (*self.rows, *([] if self.total is None else [self.total])):
            if len(row) != len(names):
                raise ValueError(f"{self.title}: a row of {len(row)} cells for {len(names)} columns: {row}")

    # -- reading -----------------------------------------------------------------------------------------------

    def index(self, name: str) -> int:
        """The position of a column, in capitals or not; an unknown name is a `SecateurError` with a suggestion."""
        names = [column.name for column in self.columns]
        found = name if name in names else next((each for each in names if each.casefold() == name.casefold()), None)
        if found is None:
            raise SecateurError(f"no column named {name!r}", where=self.title, hint=suggestion(name, names))
        return names.index(found)

    def column(self, name: str) -> list[Cell]:
        """All cells of one column, in the order of the rows."""
        at = self.index(name)
        return [row[at] for row in self.rows]

    def records(self) -> list[dict[str, Cell]]:
        """A dict for each row, by the names of the columns."""
        return [dict(zip((column.name for column in self.columns), row, strict=True)) for row in self.rows]

    @property
    def totals(self) -> dict[str, Cell]:
        """The total by the names of the columns; empty if there is none."""
        return dict(zip((column.name for column in self.columns), self.total or (), strict=False))

    # -- other tables ------------------------------------------------------------------------------------------

    def sorted(self, name: str, *, descending: bool | None = None) -> Table:
        """The same with its rows by one column: texts from a to z and numbers from large to small, unless said.

        Rows with nothing in that column come last. Raises `SecateurError` for an unknown column.
        """
        at = self.index(name)
        known = [row for row in self.rows if row[at] is not None]
        numbers = all(isinstance(row[at], int | float) for row in known)
        reverse = numbers if descending is None else descending
        ordered = sorted(known, key=lambda row: row[at] if numbers else plain(row[at]), reverse=reverse)  # type: ignore[arg-type,return-value]
        return evolve(self, rows=(*ordered, *(row for row in self.rows if row[at] is None)))

    # -- forms -------------------------------------------------------------------------------------------------

    def rich(self, width: int | None = None) -> RichGroup:
        """Title, table and notes for a console of that many columns; None: as wide as need be.

        Where it is too narrow, long texts fold at their dots, and then columns are left out, by their rank; a note
        names them. Columns with nothing to say in any row are left out too. `console.print(table)` does this for the
        console's own width.
        """
        from rich.console import Group
        from rich.text import Text

        told = [at for at, column in enumerate(self.columns) if not self.rows or self._tells(at)]
        widths = dict(zip(told, fitted([self._measured(at) for at in told], width), strict=True))
        shown = [at for at in told if widths[at] is not None]
        missing = [self.columns[at].header for at in told if at not in shown]
        notes = [*self.notes, *([f"too narrow for: {', '.join(missing)}"] if missing else [])]
        parts = [Text(self.title, "bold")] if self.title else []
        return Group(*parts, self._drawn(shown, widths), *(Text(note, "dim") for note in notes))

    def csv(self) -> str:
        """Comma-separated values: a header with units, the rows, no total; nothing to say is an empty cell."""
        buffer = StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([column.header for column in self.columns])
        writer.writerows([plain(cell) for cell in row] for row in self.rows)
        return buffer.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold: `title`, `columns` (name, unit), `rows` and `total` by name, `notes`.

        Shapes are lists; numbers that are not finite are None.
        """
        return {
            "title": self.title,
            "columns": [{"name": column.name, "unit": column.unit} for column in self.columns],
            "rows": [_cleaned(row) for row in self.records()],
            "total": None if self.total is None else _cleaned(self.totals),
            "notes": list(self.notes),
        }

    def json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def text(self, width: int | None = None) -> str:
        """As `rich` shows it, as plain lines of at most that many letters; None: as wide as need be."""
        from rich.console import Console

        buffer = StringIO()
        limit = UNLIMITED if width is None else width
        Console(file=buffer, width=limit, color_system=None, highlight=False).print(self.rich(width))
        return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().rstrip().splitlines())

    def __str__(self) -> str:
        return self.text(TEXT_WIDTH).rstrip("\n")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.rich(options.max_width)

    # -- drawing -----------------------------------------------------------------------------------------------

    def _cells(self, at: int) -> list[Cell]:
        return [row[at] for row in (*self.rows, *([] if self.total is None else [self.total]))]

    def _is_text(self, at: int) -> bool:
        return any(isinstance(cell, str | tuple) for cell in self._cells(at))

    def _tells(self, at: int) -> bool:
        """Whether there is anything to see in a column."""
        return any(self.columns[at].shown(cell) != NOTHING for cell in self._cells(at))

    def _measured(self, at: int) -> Measured:
        column = self.columns[at]
        lengths = [*map(len, column.header.split()), *(len(column.shown(cell)) for cell in self._cells(at))]
        return Measured(natural=max(lengths), folds=self._is_text(at), rank=column.rank)

    def _drawn(self, shown: Sequence[int], widths: Mapping[int, int | None]) -> RichTable:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        style = box.SIMPLE_HEAD if self.total is None else box.SIMPLE
        drawn = RichTable(box=style, pad_edge=False, padding=(0, 1, 0, 0), show_footer=self.total is not None)

        def cell(row: Row, at: int) -> Text:
            text = self.columns[at].shown(row[at])
            return Text(folded(text, widths[at] or len(text)) if self._is_text(at) else text)

        for at in shown:
            drawn.add_column(
                Text(self.columns[at].header),
                footer="" if self.total is None else cell(self.total, at),
                justify="left" if self._is_text(at) else "right",
                overflow="fold",
                width=widths[at],
            )
        for row in self.rows:
            drawn.add_row(*(cell(row, at) for at in shown))
        return drawn


def plain(cell: Cell, sign: str = "x") -> str:
    """A cell as text: nothing for None, `1x3x32x32` for a shape, several shapes one after another.

    >>> plain((1, 3, 32)), plain(((1, 2), ())), plain(None), plain(0.5)
    ('1x3x32', '1x2, scalar', '', '0.5')
    """
    if cell is None:
        return ""
    if not isinstance(cell, tuple):
        return str(cell)
    if any(isinstance(entry, tuple) for entry in cell):
        return ", ".join(plain(entry, sign) for entry in cell)
    return sign.join(map(str, cell)) or "scalar"


def _cleaned(row: Mapping[str, Cell]) -> dict[str, Any]:
    return {name: _json(cell) for name, cell in row.items()}


def _json(cell: Any) -> Any:
    if isinstance(cell, tuple):
        return [_json(entry) for entry in cell]
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
