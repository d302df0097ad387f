"""Whole runs of `stand_in`: copies of seeds are rejected, and the card reports what the rows disclose."""

from __future__ import annotations

import json
import random
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import duckdb

import synth_ray
from synth_ray.job.seeds import Source
from synth_ray.plan.hold_out import _SYLLABLES, hold_out_and_plant
from synth_ray.plan.seeds import RejectedSeed, read_seeds
from synth_ray.recipes.contract import CANARY, Shield
from synth_ray.records import Seed

WORDS = [f"w{n}{'aeiou'[n % 5]}" for n in range(3000)]


def visits(folder: Path) -> list[dict[str, Any]]:
    draw = random.Random(5)
    rows = [
        {"plan": draw.choice(["basic", "plus"]), "days": draw.randint(0, 60), "note": " ".join(draw.choices(WORDS, k=14))}
        for _ in range(300)
    ]
    (folder / "visits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def job(folder: Path, answers: list[str], **recipe: Any) -> dict[str, Any]:
    return {
        "name": "visits",
        "seeds": {"path": str(folder / "visits.jsonl"), "shape": "record"},
        "recipe": {"name": "stand_in", "canaries": 5, "holdout": 0.4} | recipe,
        "models": {"teacher": {"engine": "scripted", "script": {"answers": answers, "words": 14}}},
        "check": {"drop": []},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "plan": {"requests": 600},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }


def test_copies_of_seeds_are_rejected_and_the_disclosure_test_reports_them(tmp_path: Path) -> None:
    """The first teacher repeats real notes verbatim. The second keeps half of a note's words: near, but not copies."""
    rows = visits(tmp_path)
    new = ["{{ words }}"] * 60
    manifest = synth_ray.run(job(tmp_path, [*new, *[row["note"] for row in rows]])).manifest
    report = manifest["disclosure"]
    assert manifest["rows"]["rejected"]["copied"] == sum(report["copied"].values()) > 300
    held_out = int(manifest["seeds"]["rejected"]["held_out"])
    first_rejected = manifest["seeds"].pop("rejected_at")["held_out"]
    assert manifest["seeds"] == {"read": 305, "planned": 305 - held_out, "rejected": {"held_out": held_out}}
    assert len(first_rejected) == min(20, held_out)
    notes = duckdb.sql(f"select note from read_parquet('{tmp_path}/out/data/**/*.parquet')").fetchall()
    assert not {note for (note,) in notes} & {row["note"] for row in rows}
    seed_notes = prompted_notes(tmp_path)
    near_copies = [f"{' '.join(note.split()[:7])} {{{{ words }}}}" for note in seed_notes]
    (tmp_path / "second").mkdir()
    visits(tmp_path / "second")
    leaking = synth_ray.run(job(tmp_path / "second", near_copies)).manifest["disclosure"]
    assert leaking["test"]["p"] < 0.01
    assert "disclose records that the teacher was shown" in (tmp_path / "second" / "out" / "README.md").read_text()
    assert "nearer to shown" in (tmp_path / "second" / "out" / "report.html").read_text()


def prompted_notes(folder: Path) -> list[str]:
    seed_ids = duckdb.sql(f"select distinct seed from read_parquet('{folder}/out/**/*.parquet', union_by_name = true)").fetchall()
    known = {seed_id for (seed_id,) in seed_ids}
    source = Source(path=str(folder / "visits.jsonl"), shape="record")
    seeds = read_seeds(source, paths=[source.path], open_file=lambda path: BytesIO(Path(path).read_bytes()), seen=set())
    return [seed.fields["note"] for seed in seeds if isinstance(seed, Seed) and seed.id in known]


def test_an_innocent_teacher_passes_and_the_dataset_loads(tmp_path: Path) -> None:
    visits(tmp_path)
    manifest = synth_ray.run(job(tmp_path, ["{{ words }}"])).manifest
    report = manifest["disclosure"]
    assert report["copied"] == {}
    assert report["canaries"] == {"planted": 5, "found": 0}
    assert report["test"]["p"] > 0.01
    card = (tmp_path / "out" / "README.md").read_text()
    assert "no proof of privacy" in card
    assert "private" not in card.lower().replace("privacy", "")
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.num_rows == manifest["rows"]["accepted"] > 500
    assert set(rows["plan"]) == {"basic", "plus"}
    assert 0.35 < rows["plan"].count("plus") / rows.num_rows < 0.65


def test_leaked_canaries_are_counted_and_never_in_the_dataset(tmp_path: Path) -> None:
    visits(tmp_path)
    marked = "'zil' in prompt or 'wyx' in prompt or 'quo' in prompt"
    repeat_canaries = "{% if " + marked + " %}{{ prompt }}{% endif %}"
    manifest = synth_ray.run(job(tmp_path, [repeat_canaries + " {{ words }}"], template="{{ note }}", shots=0)).manifest
    assert manifest["disclosure"]["canaries"]["planted"] == 5
    assert manifest["disclosure"]["canaries"]["found"] >= 3
    assert manifest["disclosure"]["copied"]["canary"] >= 3
    kept = duckdb.sql(f"select note from read_parquet('{tmp_path}/out/data/**/*.parquet')").fetchall()
    planted_words = re.compile(rf"(?:\b(?:{'|'.join(_SYLLABLES)}){{3}}\b ?){{5}}")
    assert not any(planted_words.search(note) for (note,) in kept)


def test_seeds_are_held_out_by_lineage_and_counted() -> None:
    shield = Shield({}, 5, 50, 0.5, holdout=0.3, canaries=2)
    seeds = [Seed(f"{n:032x}", f"{n // 2:032x}", "train", {"prompt": "p", "note": f"some words {n}"}) for n in range(400)]
    held_out: list[Seed] = []
    results = list(hold_out_and_plant(seeds, shield, held_out))
    rejected = [seed for seed in results if isinstance(seed, RejectedSeed)]
    assert len(rejected) == len(held_out)
    assert len(results) == 402
    assert 80 < len(held_out) < 160
    lineages = {seed.lineage for seed in held_out}
    assert not lineages & {seed.lineage for seed in results if isinstance(seed, Seed)}
    canaries = [seed for seed in results if isinstance(seed, Seed) and seed.source == CANARY]
    assert [len(set(canary.fields["note"].split()) - {"some", "words"}) >= 8 for canary in canaries] == [True, True]
