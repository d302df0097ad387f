"""Cases from files and datasets: what is asked, what is expected, and rows that cannot be cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.evaluate.cases import VERIFIERS, read_cases
from synth_ray.job.seeds import Source
from synth_ray.storage import open_storage
from tests.cloud_servers import CLOUDS, new_place


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def edge_case_dataset(folder: Path, **more: Any) -> str:
    """A dataset of the recipe `edge_cases`, with two real cases beside them."""
    seeds = lines(folder / "seeds.jsonl", *[{"prompt": f"Question {n}: where is order {n * 7}?"} for n in range(8)])
    real = lines(
        folder / "real.jsonl",
        {"prompt": "When are you open?", "answer": "From nine to five."},
        {"prompt": "May I return a lamp?", "answer": "Within 30 days."},
    )
    job: dict[str, Any] = {
        "name": "cases",
        "seeds": seeds,
        "recipe": {"name": "edge_cases", "shots": 0, "attributes": {"kind": ["hostile", "misspelt"]}},
        "models": {"teacher": {"engine": "scripted"}},
        "split": {"fractions": {"test": 0.6, "validation": 0.4}, "real": real},
        "dedup": {"threshold": 0.95},
        "output": str(folder / "dataset"),
        "cluster": {"engine": "local"},
    }
    synth_ray.run(job | more)
    return str(folder / "dataset")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> str:
    return edge_case_dataset(tmp_path_factory.mktemp("cases"))


def test_a_dataset_of_edge_cases_gives_its_input_expected_output_and_grade(prefix: str) -> None:
    cases = read_cases(Source(path=prefix)).cases
    manifest = json.loads((Path(prefix) / "manifest.json").read_text())
    assert len(cases) == manifest["splits"]["test"] + manifest["splits"]["validation"] > 4
    synthetic = [case for case in cases if case.groups["origin"] == "synthetic"]
    real = [case for case in cases if case.groups["origin"] == "real"]
    assert synthetic and all(case.grade and case.expected for case in synthetic)
    assert {case.groups["kind"] for case in synthetic} <= {"hostile", "misspelt"}
    assert {case.expected for case in real} == {"From nine to five.", "Within 30 days."}
    assert all([turn["role"] for turn in case.messages] == ["user"] for case in cases)
    assert {case.groups["split"] for case in cases} == {"test", "validation"}
    assert len(read_cases(Source(path=prefix), splits=["test"]).cases) == manifest["splits"]["test"]
    assert len(read_cases(Source(path=prefix, limit=3)).cases) == 3
    with pytest.raises(JobError, match="wanted at least one case of split train"):
        read_cases(Source(path=prefix), splits=["train"])


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_part_that_is_gone_or_broken_is_a_wrong_input(spoil: Callable[[Path], Any], prefix: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prefix, tmp_path / "copy"))
    spoil(next(copy.rglob("split=test/*.parquet")))
    with pytest.raises(JobError, match="wanted a part of the dataset"):
        read_cases(Source(path=str(copy)))


def test_rows_of_other_recipes_are_read_with_their_conversation_and_verifier(tmp_path: Path) -> None:
    label = {"name": "label", "labels": ["good", "bad"]}
    prefix = edge_case_dataset(tmp_path, recipe=label)
    cases = read_cases(Source(path=prefix)).cases
    assert {case.verify for case in cases} == {"label"}
    assert {case.expected for case in cases if case.groups["origin"] == "synthetic"} <= {"good", "bad"}


def test_files_of_every_format_give_the_same_cases(tmp_path: Path) -> None:
    rows = [{"question": "What is 2 + 2?", "answer": "4", "category": "sums"}, {"question": "Name a colour", "answer": "red"}]
    whole = [{"category": None} | row for row in rows]
    pq.write_table(pa.Table.from_pylist(whole), tmp_path / "cases.parquet")
    (tmp_path / "cases.csv").write_text("question,answer,category\nWhat is 2 + 2?,4,sums\nName a colour,red,\n")
    (tmp_path / "cases.json").write_text(json.dumps(rows))
    lines(tmp_path / "cases.jsonl", *rows)
    for ending in ("jsonl", "json", "csv", "parquet"):
        cases = read_cases(Source(path=str(tmp_path / f"cases.{ending}"))).cases
        assert [case.messages[-1]["content"] for case in cases] == ["What is 2 + 2?", "Name a colour"]
        assert [case.expected for case in cases] == ["4", "red"]
        assert cases[0].groups == {"category": "sums"}


def test_columns_are_mapped_and_ids_come_from_the_row_or_its_content(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", {"text": "a", "intent": "x"}, {"text": "b", "intent": "y"}, {"text": "a", "intent": "x"})
    mapped = read_cases(Source(path=path, fields={"prompt": "text", "answer": "intent"}))
    assert ([case.expected for case in mapped.cases], mapped.repeated) == (["x", "y"], 1)
    again = lines(tmp_path / "d.jsonl", {"text": "b", "intent": "y"}, {"text": "a", "intent": "x"})
    reordered = read_cases(Source(path=again, fields={"prompt": "text", "answer": "intent"})).cases
    assert {case.id for case in reordered} == {case.id for case in mapped.cases}
    own = read_cases(Source(path=lines(tmp_path / "e.jsonl", {"id": 7, "prompt": "a"}))).cases
    assert own[0].id == "7" and read_cases(Source(path=path), by=["intent"]).cases[0].groups == {"intent": "x"}


def test_a_conversation_is_asked_up_to_its_answer_and_a_system_column_comes_first(tmp_path: Path) -> None:
    turns = [("system", "Be short"), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "See you")]
    messages = [{"role": role, "content": text} for role, text in turns]
    path = lines(tmp_path / "c.jsonl", {"messages": messages}, {"system": "Be kind", "prompt": "Hi", "expected": ["a", 1]})
    talk, short = read_cases(Source(path=path)).cases
    assert (talk.messages, talk.expected) == (messages[:-1], "See you")
    assert [turn["role"] for turn in short.messages] == ["system", "user"] and short.expected == '["a",1]'


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{broken", "c.jsonl:2: wanted a case, got broken_json"),
        ({"answer": "no prompt"}, "c.jsonl:2: wanted a case, got missing_field"),
        ({"prompt": "  "}, "c.jsonl:2: wanted a case, got empty_seed"),
        ({"id": "one", "prompt": "other"}, "c.jsonl:2: id: wanted another id for every case"),
        ({"prompt": "p", "verify": "guess"}, f"verify: wanted one of {', '.join(VERIFIERS)}"),
        ({"prompt": "p", "schema": {"type": "strnig"}}, "did you mean 'string'"),
        ({"prompt": "p", "schema": "{"}, "schema: wanted a JSON Schema, got text that is not JSON"),
        ({"prompt": "p", "schema": "[1]"}, "schema: wanted an object, got list"),
    ],
)
def test_a_row_that_cannot_be_a_case_is_an_error_with_its_place_and_without_its_text(
    row: Any, message: str, tmp_path: Path
) -> None:
    text = row if isinstance(row, str) else json.dumps(row)
    (tmp_path / "c.jsonl").write_text('{"id": "one", "prompt": "first"}\n' + text + "\n")
    with pytest.raises(JobError) as error:
        read_cases(Source(path=str(tmp_path / "c.jsonl")))
    assert message in str(error.value)


def test_where_nothing_is_there_is_no_case(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path, "ftp://bucket/x"):
        with pytest.raises(JobError):
            read_cases(Source(path=str(path)))


@pytest.mark.parametrize("kind", CLOUDS)
def test_cases_are_read_from_gcs_and_azure(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place(kind, request)
    monkeypatch.setenv({"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}[kind], str(place.endpoint_url))
    open_storage(f"{place.url}/set").write("c.jsonl", b'{"prompt": "first"}\n{"prompt": "second"}\n')
    for path in (f"{place.url}/set/c.jsonl", f"{place.url}/set", f"{place.url}/*/*.jsonl"):
        found = read_cases(Source(path=path)).cases
        assert [case.messages[-1]["content"] for case in found] == ["first", "second"]
        assert found[0].place == f"{place.url}/set/c.jsonl:1"


def test_a_cases_digest_changes_with_what_decides_it_alone(tmp_path: Path) -> None:
    row = {"id": "1", "prompt": "p", "answer": "a", "category": "c"}
    changes = [{}, {"category": "d"}, {"answer": "b"}, {"prompt": "q"}, {"grade": "g"}, {"verify": "label"}, {"schema": {}}]
    digests = [read_cases(Source(path=lines(tmp_path / f"{i}.jsonl", row | c))).cases[0].digest for i, c in enumerate(changes)]
    assert digests[0] == digests[1] and len(set(digests)) == len(changes) - 1
