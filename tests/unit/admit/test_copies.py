"""No record that was stood in for comes out again, however it is dressed."""

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
READ = Fingerprinter(Dedup(ngram=3)).words
SHIELD = Shield({"plan": "category", "note": "text"}, rarer_than=3, longest_run=50, coverage=0.5, holdout=0.2, canaries=0)


def text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def records(draw: random.Random, n: int = 60) -> list[dict[str, Any]]:
    notes = [text(draw, draw.choice([3, 12, 60, 200])) for _ in range(n)]
    return [{"plan": draw.choice("ab"), "note": note} for note in notes] + [{"plan": "a", "note": "nothing found"}] * 5


def rows(*fields: dict[str, Any]) -> pa.Table:
    table = staged_chunk(0, len(fields))
    at = table.schema.get_field_index("fields")
    return table.set_column(at, "fields", pa.array([json.dumps(one) for one in fields]))


def dressed(note: str, how: str, draw: random.Random) -> str:
    if how == "case":
        return note.upper().replace(" ", ",  ")
    if how == "embedded":
        return f"{text(draw, 30)}: {note}. {text(draw, 30)}"
    if how == "half":
        return " ".join(note.split()[: len(note.split()) // 2 + 8]) + " " + text(draw, 20)
    return note


@given(st.integers(0, 2**32), st.sampled_from(["verbatim", "case", "embedded", "half"]))
def test_every_planted_record_is_found_and_no_new_one(seed: int, how: str) -> None:
    draw = random.Random(seed)
    real = records(draw)
    copies = CopyDetector(real, SHIELD, READ)
    long = [one for one in real if len(one["note"].split()) >= (12 if how in ("embedded", "half") else 1)]
    planted = [{"plan": "b", "note": dressed(one["note"], how, draw)} for one in long if one["note"] != "nothing found"]
    new = [{"plan": draw.choice("ab"), "note": text(draw, draw.choice([3, 12, 60, 200]))} for _ in range(30)]
    found = copies.find_copies(rows(*planted, *new, {"plan": "a", "note": "Nothing found!"}))
    assert sorted(found) == list(range(len(planted)))
    assert set(found.values()) <= {"record", "text"}


def test_half_a_document_or_fifty_words_of_one_are_too_much_and_less_is_not() -> None:
    draw = random.Random(1)
    note = text(draw, 400)
    copies = CopyDetector([{"plan": "a", "note": note}], SHIELD, READ)
    part = {n: " ".join([*note.split()[100 : 100 + n], *text(draw, 40).split()]) for n in (45, 50)}
    assert copies.find_copies(rows({"note": part[45]}, {"note": part[50]})) == {1: "text"}


def test_a_canarys_ending_is_found_and_counted() -> None:
    draw = random.Random(2)
    endings = [" ".join(f"zil{n}{i}" for i in range(8)) for n in range(3)]
    copies = CopyDetector(records(draw), SHIELD, READ, canary_suffixes=endings)
    leaked = f"{text(draw, 20)} {' '.join(endings[1].split()[2:7])} {text(draw, 20)}"
    assert copies.find_copies(rows({"note": text(draw, 40)}, {"note": leaked})) == {1: "canary"}
    assert copies.canaries == {endings[1]}
    assert copies.counts == {"canary": 1}
