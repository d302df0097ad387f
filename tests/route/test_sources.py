"""Whole runs over sources that are broken, odd or far away: what is published, what is counted, and what an error says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synth_ray
from synth_ray.cli.main import main
from synth_ray.errors import JobError
from tests.web_server import Site, serving

ROWS = [{"prompt": f"Which of the {n} lamps is the brightest one?", "answer": f"Lamp {n * 3} is, by far."} for n in range(12)]


def job(folder: Path, seeds: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "sources",
        "seeds": seeds,
        "recipe": "build",
        "models": "none",
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    } | more


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_the_same_rows_are_the_same_dataset_wherever_and_however_they_are_kept(tmp_path: Path) -> None:
    data = lines(ROWS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_bytes(lines(ROWS[:5]))
    (tmp_path / "folder" / "b.jsonl.gz").write_bytes(gzip.compress(lines(ROWS[5:])))
    (tmp_path / "folder" / "_SUCCESS").touch()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "s.parquet")
    (tmp_path / "s.csv").write_text("prompt;answer\n" + "".join(f"{r['prompt']};{r['answer']}\n" for r in ROWS), "utf-16")
    with serving(Site({"/s.jsonl": data})) as site:
        sources = [
            str(tmp_path / "folder"),
            f"{tmp_path}/folder/**",
            str(tmp_path / "s.parquet"),
            {"path": str(tmp_path / "s.csv"), "delimiter": ";"},
            f"{site.url}/s.jsonl",
        ]
        manifests = [synth_ray.run(job(tmp_path / str(i), source)).manifest for i, source in enumerate(sources)]
    assert {m["rows"]["accepted"] for m in manifests} == {12}
    assert len({m["dataset_digest"] for m in manifests}) == 1
    assert len({m["job_digest"] for m in manifests}) == 1


def test_a_job_over_another_content_at_the_same_address_is_another_job(tmp_path: Path) -> None:
    with serving(Site({"/s.jsonl": lines(ROWS[:6])})) as site:
        first = synth_ray.run(job(tmp_path / "1", f"{site.url}/s.jsonl")).manifest
        site.files = {"/s.jsonl": lines(ROWS)}
        second = synth_ray.run(job(tmp_path / "2", f"{site.url}/s.jsonl")).manifest
    assert first["job_digest"] != second["job_digest"]


def test_odd_values_are_json_and_bad_rows_are_counted_at_their_lines(tmp_path: Path) -> None:
    odd = '{"prompt": "What is the score of the last match?", "answer": "Nobody kept it.", "score": NaN, "loss": 1e999}\n'
    bad = '{"prompt": null, "answer": "a"}\n{"prompt": "\\ud800"}\n{"prompt": "a", "prompt": "b"}\n'
    (tmp_path / "s.jsonl").write_text(odd + bad)
    (tmp_path / "s.csv").write_text('prompt,answer\nIs a quote missing here?,"two\nlines",more\n')
    seeds = [str(tmp_path / "s.jsonl"), str(tmp_path / "s.csv")]
    manifest = synth_ray.run(job(tmp_path, seeds)).manifest
    assert manifest["seeds"]["rejected_at"] == {
        "broken_json": [f"{seeds[0]}:4"],
        "invalid_utf8": [f"{seeds[0]}:3"],
        "missing_field": [f"{seeds[0]}:2"],
        "wrong_type": [f"{seeds[1]}:2-3"],
    }
    [[fields]] = duckdb.sql(f"select fields from read_parquet('{tmp_path}/out/data/**/*.parquet')").fetchall()
    assert json.loads(fields, parse_constant=pytest.fail) == {"score": None, "loss": None}


def test_folders_of_the_sources_become_columns_and_folders_of_the_dataset(tmp_path: Path) -> None:
    for i, lang in enumerate(("de", "en", "__HIVE_DEFAULT_PARTITION__")):
        (tmp_path / "data" / f"lang={lang}").mkdir(parents=True)
        (tmp_path / "data" / f"lang={lang}" / "part.jsonl").write_bytes(lines(ROWS[i * 4 : i * 4 + 4]))
    output = {"path": str(tmp_path / "out"), "partition_by": {"lang": ["de", "en"]}}
    synth_ray.run(job(tmp_path, str(tmp_path / "data"), output=output))
    counts = duckdb.sql(f"select lang, count(*) from read_parquet('{tmp_path}/out/data/**/*.parquet') group by 1 order by 1")
    assert counts.fetchall() == [("de", 4), ("en", 4), (None, 4)]
    again = synth_ray.run(job(tmp_path / "again", f"{tmp_path}/out/data", split={"fractions": {"train": 1.0}})).manifest
    assert again["seeds"]["planned"] == 12


@pytest.mark.parametrize("place", ["seeds", "split.real", "mix.real", "decontaminate.against", "target.balance.like"])
def test_a_broken_file_ends_the_run_before_anything_is_published_and_names_its_key(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken = tmp_path / "good.jsonl", tmp_path / "broken.parquet"
    good.write_bytes(lines(ROWS))
    rows = [{"prompt": f"{n * 7919 % 10_007} roads lead to it.", "answer": f"{n}"} for n in range(3000)]
    pq.write_table(pa.Table.from_pylist(rows), broken, row_group_size=1000, use_dictionary=False, compression="zstd")
    column = pq.ParquetFile(broken).metadata.row_group(1).column(0)
    data = bytearray(broken.read_bytes())
    for i in range(30):
        data[column.data_page_offset + column.total_compressed_size // 2 + i] ^= 0xFF
    broken.write_bytes(data)
    document = job(tmp_path, str(broken if place == "seeds" else good))
    if place == "target.balance.like":
        document["target"] = {"accepted": 4, "balance": {"by": "answer", "like": str(broken)}}
    elif place == "decontaminate.against":
        document["decontaminate"] = {"against": [{"name": "exam", "path": str(broken)}]}
    elif place != "seeds":
        section, name = place.split(".")
        document[section] = {name: str(broken), **document.get(section, {})}
    (tmp_path / "job.yaml").write_text(json.dumps(document))
    assert main(["run", str(tmp_path / "job.yaml")]) == 2
    told = capsys.readouterr().err
    assert f"{place}: {broken}: wanted a whole Parquet file, got one that is broken in row group 1 (of 3" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_source_that_is_not_there_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(lines(ROWS))
    with pytest.raises(JobError, match=r"mix\.real: wanted to read '.*none\.jsonl'"):
        synth_ray.run(job(tmp_path, str(tmp_path / "s.jsonl"), mix={"real": str(tmp_path / "none.jsonl")}))
