"""What sections of a page are made of. The template `blocks.html.j2` has a macro for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup

SHOWN = 12
"""Rows of a long table or list that are shown; the rest is behind a line that opens it."""
MOST = 120
"""Rows that a page has at all of any one table or list."""


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph. `level` is "", "warn" or "fail". Text in backticks is shown as code."""

    kind: ClassVar[str] = "note"
    text: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, with a remark on each where one is needed."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, Any, str]]


@dataclass(frozen=True, slots=True)
class Status:
    """A verdict in a word: `level` is "ok", "warn" or "fail"."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first column names the row; `numeric` are the columns of numbers. Cells are text, Status or Markup."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: frozenset[int] = frozenset()

    @property
    def is_wide(self) -> bool:
        """Whether a phone shows its rows one below the other, as they do not fit beside each other."""
        return len(self.head) > 4 or (len(self.head) == 4 and len(self.numeric) < 3)

    @property
    def first(self) -> Sequence[Sequence[Any]]:
        return self.rows[:SHOWN]

    @property
    def rest(self) -> Sequence[Sequence[Any]]:
        return self.rows[SHOWN:MOST]

    @property
    def left_out(self) -> int:
        return max(0, len(self.rows) - MOST)


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar chart: `value` is its text, `note` a sentence about it, `advice` what to do about it."""

    label: str
    value: str
    svg: Markup
    note: str = ""
    code: str = ""
    level: int = 0
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart whose lines carry their own figures, so it needs no table beside it. `legend` is (colour class, text).

    `shown` bars are seen at once, the rest is behind a line that opens it.
    """

    kind: ClassVar[str] = "bars"
    bars: Sequence[Bar]
    legend: Sequence[tuple[str, str]] = ()
    title: str = ""
    shown: int = SHOWN

    @property
    def first(self) -> Sequence[Bar]:
        return self.bars[: self.shown]

    @property
    def rest(self) -> Sequence[Bar]:
        return self.bars[self.shown : MOST]

    @property
    def left_out(self) -> int:
        return max(0, len(self.bars) - MOST)


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its axes, and the same numbers as a table. `x` are the texts below it, `top` is the one at its height."""

    kind: ClassVar[str] = "figure"
    title: str
    svg: Markup
    x: Sequence[str]
    x_name: str
    top: str
    table: Table
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """One measure on its own scale, with the lines at which it warns and fails."""

    name: str
    value: str
    interval: str
    limits: str
    status: Status
    meaning: str
    svg: Markup
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Scales:
    kind: ClassVar[str] = "scales"
    scales: Sequence[Scale]
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Blocks of which one is shown at a time: (name, block). Without scripts, and in print, all are shown."""

    kind: ClassVar[str] = "choice"
    id: str
    label: str
    options: Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks behind a line that opens them."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Text:
    """Text kept as it is written: a template, settings."""

    kind: ClassVar[str] = "text"
    caption: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part of the page. `lead` says in a sentence what it shows; `brief` names it in the contents."""

    id: str
    brief: str
    title: str
    lead: str
    blocks: Sequence[Any] = field(default_factory=tuple)


def section(id: str, brief: str, title: str, lead: str, blocks: Sequence[Any | None]) -> Section | None:
    """The section, without the blocks that are None; None where no block is left."""
    present = [block for block in blocks if block is not None]
    return Section(id, brief, title, lead, present) if present else None
