"""What a person asks for, as read from URL parameters, and the SQL condition it stands for.

Law: names of columns are compared with those of the files, and values are bound; no text of a URL or of a row becomes SQL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synth_ray.dataset.manifest import File
from synth_ray.errors import JobError
from synth_ray.records import Verdict

TEXT, BOOL, NUMBER, OTHER = "text", "bool", "number", "other"
"""Kinds of columns, by what can be asked of them."""

_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Rows for which everything holds. `equals` and `missing` are of text and boolean columns, `low` and `high` of numbers.

    `text` occurs in prompt or completion, whatever its case; `id` begins the row's id.
    """

    equals: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    id: str = ""
    sort: str = ""
    descending: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Sequence[str]]) -> Query:
        """From URL parameters: `is.COLUMN`, `missing`, `min.COLUMN`, `max.COLUMN`, `text`, `id`, `sort`, `descending`.

        Raises JobError for a bound that is no number.
        """
        first = {name: values[0] for name, values in parameters.items() if values}
        return cls(
            equals=_with_prefix(first, "is."),
            missing=tuple(sorted(set(parameters.get("missing", ())))),
            low={name: _number(name, value) for name, value in _with_prefix(first, "min.").items()},
            high={name: _number(name, value) for name, value in _with_prefix(first, "max.").items()},
            text=_short("text", first.get("text", "")),
            id=_short("id", first.get("id", "")),
            sort=first.get("sort", ""),
            descending=first.get("descending") == "1",
        )

    def check(self, kinds: Mapping[str, str]) -> None:
        """Raises JobError for a column that is not there, or of which this cannot be asked."""
        for names, wanted in (
            ((*self.equals, *self.missing), (TEXT, BOOL)),
            ((*self.low, *self.high, *filter(None, [self.sort])), (NUMBER,)),
        ):
            for name in names:
                if kinds.get(name) not in wanted:
                    raise JobError(
                        f"column: wanted one of {' or '.join(wanted)}, got '{name[:60]}', which is {kinds.get(name, 'not there')}"
                    )


@dataclass(frozen=True, slots=True)
class Source:
    """Files with the same columns: those of accepted rows, or of rejected and failed ones. `columns` has each one's kind."""

    files: tuple[File, ...]
    columns: Mapping[str, str]
    accepted: bool

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


@dataclass(frozen=True, slots=True)
class Condition:
    """Rows of these files for which the SQL holds. `values` are bound to its question marks."""

    files: tuple[File, ...]
    sql: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    @property
    def where(self) -> str:
        return " AND ".join(self.sql) or "TRUE"


def condition_of(source: Source, query: Query) -> Condition | None:
    """What the query asks of this source; None where no row of it can match."""
    files, terms = source.files, _Terms(source)
    if source.accepted:
        # The files of accepted rows have neither column: the folder has the split, and all have one verdict.
        if query.equals.get("verdict", Verdict.ACCEPTED) != Verdict.ACCEPTED or {"verdict", "split"} & set(query.missing):
            return None
        if "split" in query.equals:
            files = tuple(file for file in files if file.split == query.equals["split"])
        query = _without(query, "verdict", "split")
    return terms.condition(files, query) if files else None


class _Terms:
    """The terms of a condition, and whether any row can meet them all."""

    def __init__(self, source: Source) -> None:
        self._columns = source.columns
        self._sql: list[str] = []
        self._values: list[Any] = []
        self._possible = True

    def condition(self, files: tuple[File, ...], query: Query) -> Condition | None:
        for name, value in query.equals.items():
            self._add(name, "{} = ?" if self._columns.get(name) == TEXT else "CAST({} AS VARCHAR) = ?", value)
        for name in query.missing:
            if name in self._columns:  # a column that is not there is missing in every row
                self._add(name, "{} IS NULL")
        for name, bound in query.low.items():
            self._add(
                name, "CAST({} AS DOUBLE) BETWEEN ? AND 'infinity'::DOUBLE", bound
            )  # NaN is above infinity, and never meant
        for name, bound in query.high.items():
            self._add(name, "CAST({} AS DOUBLE) <= ?", bound)
        if query.id:
            self._add("id", "starts_with({}, ?)", query.id)
        if query.text:
            pattern = text_pattern(query.text)
            self._sql.append("(regexp_matches(completion, ?) OR regexp_matches(prompt, ?))")
            self._values += [pattern, pattern]
        return Condition(files, tuple(self._sql), tuple(self._values)) if self._possible else None

    def _add(self, name: str, sql: str, *values: Any) -> None:
        self._possible &= name in self._columns
        self._sql.append(sql.format(quoted(name)))
        self._values += values


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text_pattern(text: str) -> str:
    """RE2's pattern for the text itself in any case: it reads a text once, where lower-casing it first would read it twice."""
    return "(?i)" + "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _with_prefix(parameters: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}


def _without(query: Query, *columns: str) -> Query:
    return replace(query, equals={name: value for name, value in query.equals.items() if name not in columns})


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise JobError(f"{name[:60]}: wanted a number as its bound, got another text; write it as 0.85")
    return number


def _short(name: str, text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise JobError(f"{name}: wanted at most {_LONGEST_TEXT:,} characters to look for, got {len(text):,}; give fewer")
    return text
