"""No source record passes as a synthetic row: verbatim, in other case, embedded or in half."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.admit.copies import CopyDetector
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.job.dedup import Dedup
from synth_ray.recipes.contract import Shield
from tests.rows import staged_chunk

WORDS = [f"w{n}{'aeiou'[n % 5]}" for n in range(2000)]
WORDS_OF = Fingerprinter(Dedup(ngram=3)).words
SHIELD = Shield({"plan": "category", "note": "text"}, rarer_than=3, longest_run=50, coverage=0.5, holdout=0.2, canaries=0)


def text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def records(draw: random.Random, n: int = 60) -> list[dict[str, Any]]:
    notes = [text(draw, draw.choice([3, 12, 60, 200])) for _ in range(n)]
    return [{"plan": draw.choice("ab"), "note": note} for note in notes] + [{"plan": "a", "note": "nothing found"}] * 5


def rows(*fields: dict[str, Any]) -> pa.Table:
    table = staged_chunk(0, len(fields))
    at = table.schema.get_field_index("fields")
    return table.set_column(at, "fields", pa.array([json.dumps(record) for record in fields]))


def disguised(note: str, disguise: str, draw: random.Random) -> str:
    if disguise == "case":
        return note.upper().replace(" ", ",  ")
    if disguise == "embedded":
        return f"{text(draw, 30)}: {note}. {text(draw, 30)}"
    if disguise == "half":
        return " ".join(note.split()[: len(note.split()) // 2 + 8]) + " " + text(draw, 20)
    return note


@given(st.integers(0, 2**32), st.sampled_from(["verbatim", "case", "embedded", "half"]))
def test_every_planted_copy_is_found_and_no_new_record_is(seed: int, disguise: str) -> None:
    draw = random.Random(seed)
    real = records(draw)
    copies = CopyDetector(real, SHIELD, WORDS_OF)
    long = [record for record in real if len(record["note"].split()) >= (12 if disguise in ("embedded", "half") else 1)]
    planted = [
        {"plan": "b", "note": disguised(record["note"], disguise, draw)} for record in long if record["note"] != "nothing found"
    ]
    new = [{"plan": draw.choice("ab"), "note": text(draw, draw.choice([3, 12, 60, 200]))} for _ in range(30)]
    copied_rows = copies.find_copies(rows(*planted, *new, {"plan": "a", "note": "Nothing found!"}))
    assert sorted(copied_rows) == list(range(len(planted)))
    assert set(copied_rows.values()) <= {"record", "text"}


def test_half_a_document_or_a_run_of_fifty_words_is_a_copy_and_less_is_not() -> None:
    draw = random.Random(1)
    note = text(draw, 400)
    copies = CopyDetector([{"plan": "a", "note": note}], SHIELD, WORDS_OF)
    part = {n: " ".join([*note.split()[100 : 100 + n], *text(draw, 40).split()]) for n in (45, 50)}
    assert copies.find_copies(rows({"note": part[45]}, {"note": part[50]})) == {1: "text"}


def test_a_record_is_a_copy_however_its_date_is_written() -> None:
    record = {"plan": "a", "note": "seen on 2024-05-06"}
    copies = CopyDetector([record, {"plan": "a", "note": "seen on 2024-05-07"}], SHIELD, WORDS_OF)
    assert copies.find_copies(rows({"plan": "a", "note": "Seen on 2024/05/06."}, {"plan": "a", "note": "not seen"})) == {
        0: "record"
    }


def test_a_canary_suffix_is_found_and_counted() -> None:
    draw = random.Random(2)
    suffixes = [" ".join(f"zil{n}{i}" for i in range(8)) for n in range(3)]
    copies = CopyDetector(records(draw), SHIELD, WORDS_OF, canary_suffixes=suffixes)
    leaked = f"{text(draw, 20)} {' '.join(suffixes[1].split()[2:7])} {text(draw, 20)}"
    assert copies.find_copies(rows({"note": text(draw, 40)}, {"note": leaked})) == {1: "canary"}
    assert copies.canaries == {suffixes[1]}
    assert copies.counts == {"canary": 1}


def test_a_thought_that_quotes_a_record_makes_its_row_a_copy() -> None:
    draw = random.Random(4)
    real = records(draw)
    copies = CopyDetector(real, SHIELD, WORDS_OF)
    note = next(record["note"] for record in real if len(record["note"].split()) >= 60)
    new = {"plan": "b", "note": text(draw, 40)}
    table = rows(new, new)
    thoughts = pa.array([f"The record shown says: {note}", "I invent another one."])
    table = table.set_column(table.schema.get_field_index("reasoning"), "reasoning", thoughts)
    assert copies.find_copies(table) == {0: "thought"}
