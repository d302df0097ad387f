"""Writes the rows to review as a form: CSV for a spreadsheet, JSONL, or a folder that Argilla loads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.dataset.samples import json_line
from synth_ray.recipes.contract import transcript
from synth_ray.review.draw import Drawn, fields_in, turns_of

FORMATS = ("csv", "jsonl", "argilla")
COLUMNS = ("id", "split", "class", "weight", "prompt", "completion", "verdict", "note")
"""`verdict` and `note` are the reviewer's. `weight`: how many rows of the dataset this one stands for."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUESTION = "Is this a good row to train on?"


def write_form(drawn: Sequence[Drawn], kind: str) -> dict[str, bytes]:
    """The files of the form, by path; a form of one file has the path "". `kind` is one of FORMATS."""
    rows = [_row(entry) for entry in drawn]
    if kind == "argilla":
        return _argilla(rows)
    return {"": _csv(rows) if kind == "csv" else _lines(rows)}


def _row(drawn: Drawn) -> dict[str, Any]:
    row, (split, class_) = drawn.row, drawn.stratum
    shown = {
        "id": row["id"],
        "split": split,
        "class": class_,
        "weight": round(drawn.weight, 4),
        "prompt": question_of(row),
        "completion": str(row.get("completion") or ""),
        "verdict": "",
        "note": "",
    }
    rejected = {"reason": row["reason"]} if row.get("reason") else {}
    return shown | rejected | ({"fields": fields} if (fields := fields_in(row)) else {})


def question_of(row: Mapping[str, Any]) -> str:
    """What the completion answers."""
    turns = turns_of(row)
    return transcript(turns) if turns else str(row.get("prompt") or "")


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """With a byte order mark, by which spreadsheets know UTF-8. A cell that a spreadsheet would take for a formula gets an
    apostrophe first (OWASP, CSV injection).
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return out.getvalue().encode("utf-8-sig", "replace")


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json_line(row) + b"\n" for row in rows)


def _argilla(rows: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """A dataset as Argilla 2's `Dataset.to_disk` writes it, for `Dataset.from_disk`: settings, and records without answers."""
    settings = {
        "guidelines": None,
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "fields": [_field("prompt", "Prompt"), _field("completion", "Completion")],
        "questions": [_label_question(), _note_question()],
        "metadata": [],
        "vectors": [],
    }
    records = [
        {
            "id": row["id"],
            "fields": {"prompt": row["prompt"], "completion": row["completion"]},
            "metadata": {name: row[name] for name in ("split", "class", "weight") if row[name] != ""},
            "suggestions": {},
            "responses": {},
            "vectors": {},
            "status": "pending",
        }
        for row in rows
    ]
    files = {".argilla/settings.json": settings, ".argilla/dataset.json": {"name": "review"}, "records.json": records}
    return {path: json.dumps(content).encode() for path, content in files.items()}


def _field(name: str, title: str) -> dict[str, Any]:
    settings = {"type": "text", "use_markdown": False}
    return {"name": name, "title": title, "required": True, "type": "text", "settings": settings}


def _label_question() -> dict[str, Any]:
    options = [{"value": value, "text": value, "description": None} for value in ("accept", "reject")]
    settings = {"type": "label_selection", "options": options, "visible_options": None}
    return {"name": "verdict", "title": _QUESTION, "description": None, "required": True, "settings": settings}


def _note_question() -> dict[str, Any]:
    settings = {"type": "text", "use_markdown": False}
    return {"name": "note", "title": "Why?", "description": None, "required": False, "settings": settings}
