"""What a command writes beside its result: text for people, or one JSON object a line for a cluster's log store.

In JSON every line has `event` and `time` (UTC, ISO 8601): `progress`, `log` (a record of the logging module), `error`, and `end`
with the result. Nothing else is written then, on either stream. Once the job is read, every line has `job`, its name, and `run`,
an id of this process's run; a record that speaks of one has `replica` and `chunk`. No line has the text of a row.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

VARIABLE = "SYNTH_RAY_LOG"
RUN_VARIABLE = "SYNTH_RAY_RUN_ID"
"""Gives the runs of a job an id that whoever started them knows; else each has one of its own."""

_NUMBERED = re.compile(r"%(?:[.\d]*[sdfr]|%)")
_THING = re.compile(r"(replica|chunk) $")
_labels: dict[str, str] = {}


def wants_json(arguments: argparse.Namespace) -> bool:
    """Whether `--log json` is given, or the variable says so and no person looks on."""
    chosen = getattr(arguments, "log", None)
    if chosen is not None:
        return bool(chosen == "json")
    return "log" in arguments and os.environ.get(VARIABLE) == "json" and not sys.stderr.isatty()


def set_up_logging(*, verbose: bool, in_json: bool) -> None:
    """Send the records of the logging module to standard error. What was labelled before is no more."""
    _labels.clear()
    handler = _StandardError()
    handler.setFormatter(_JsonFormatter() if in_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=in_json)
    logging.captureWarnings(in_json)
    if in_json:
        sys.excepthook = _print_crash


def label_lines(job: str) -> None:
    """From now on every line says which job and run it is of."""
    _labels.update(job=job, run=os.environ.get(RUN_VARIABLE) or secrets.token_hex(6))


def print_event(event: str, facts: Mapping[str, Any]) -> None:
    """One JSON line on standard error."""
    _write_line(_line(event, facts))


def _print_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A crash that no command expects: its traceback in one line too."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print_event("error", {"message": kind.__name__, "exit_code": 1, "traceback": text})


def _line(event: str, facts: Mapping[str, Any], at: float | None = None) -> str:
    now = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return json.dumps(
        {"event": event, "time": now.isoformat(timespec="milliseconds"), **_labels, **facts}, allow_nan=False, default=str
    )


def _write_line(text: str) -> None:
    """In one write, so that lines of several threads do not mix."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _StandardError(logging.Handler):
    """Takes the standard error of the moment: while a live panel is drawn, the panel's, which puts the line above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        _write_line(self.format(record))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        facts |= _numbers_in(record)
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return _line("log", facts, record.created)


def _numbers_in(record: logging.LogRecord) -> dict[str, int]:
    """The replica and the chunk that a message names, as 'replica %d': whoever logs need not say them twice."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return {}
    found: dict[str, int] = {}
    fields = (match for match in _NUMBERED.finditer(record.msg) if match.group() != "%%")
    for match, value in zip(fields, record.args, strict=False):
        thing = _THING.search(record.msg, 0, match.start())
        if thing is not None and isinstance(value, int):
            found.setdefault(thing.group(1), value)
    return found
