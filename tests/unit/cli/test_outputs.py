"""Commands on an output: where nothing is they say so; rows are found by the beginning of their id and by reason."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.unit.cli.test_cli import job_file, run_cli

COMMANDS = [["status"], ["report"], ["show"], ["gc"], ["export", "--format", "jsonl"], ["view"]]


def words(command: list[str], prefix: str) -> list[str]:
    return [command[0], prefix, *(["abc"] if command[0] == "show" else []), *command[1:]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_prefix_where_no_run_has_written_is_a_wrong_input(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.jsonl").write_text("{}\n")
    for name in ("none", "file", "folder"):
        code, out, err = run_cli(capsys, *words(command, f"{tmp_path}/{name}"))
        assert (code, out) == (2, "")
        assert f"{tmp_path}/{name}: wanted the output of a run, got a place where none has written" in err
    assert run_cli(capsys, *words(command, "gs://bucket/x"))[0] == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data.jsonl", "file", "folder"]


def test_a_bucket_that_does_not_exist_is_a_wrong_input(
    bucket: str, moto_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    for prefix, message in ((f"s3://{bucket}-gone/x", "no such bucket"), (f"s3://{bucket}/x", "none has written")):
        for command in COMMANDS:
            code, _, err = run_cli(capsys, *words(command, prefix))
            assert code == 2 and message in err


def test_a_run_that_has_not_published_has_a_status_and_rows_but_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = job_file(tmp_path), str(tmp_path / "out")
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    (tmp_path / "out" / "manifest.json").unlink()
    assert "nothing is published yet" in run_cli(capsys, "status", out)[1]
    for command in (["report"], ["export", "--format", "jsonl"], ["view"]):
        code, _, err = run_cli(capsys, *words(command, out))
        assert code == 2 and "a run that has not published yet" in err
    chunk = next((tmp_path / "out" / "_synth" / "chunks").rglob("*.parquet"))
    row = pq.ParquetFile(chunk).read(columns=["id"])["id"][0].as_py()
    assert f"id {row}" in run_cli(capsys, "show", out, row[:12])[1]
    assert "give the id of a row or --reason" in run_cli(capsys, "show", out)[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in which most rows are refused, and two seeds are broken."""
    folder = tmp_path_factory.mktemp("refused")
    script = {"answers": ["I am sorry, but I cannot help with that.", "Answer {{ words }}"], "truncate_share": 0.3}
    path = job_file(folder, models={"teacher": {"engine": "scripted", "script": script}})
    seeds = folder / "seeds.jsonl"
    more = "".join(json.dumps({"prompt": f"Another {n}?"}) + "\n" for n in range(60))
    seeds.write_text(seeds.read_text() + '{"prompt": 7}\n' + "{broken\n" + more)
    from synth_ray.cli.main import main

    assert main(["run", path, "--quiet"]) == 0
    return folder / "out"


def test_the_beginning_of_an_id_shows_its_row_or_the_rows_that_it_may_be(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = sorted(
        name
        for file in output.rglob("*.parquet")
        if "_synth" not in str(file)
        for name in pq.ParquetFile(file).read()["id"].to_pylist()
    )
    first, second = ids[0], ids[1]
    length = next(n for n in range(33) if first[:n] != second[:n])
    whole = run_cli(capsys, "show", str(output), first)
    assert whole[0] == 0 and run_cli(capsys, "show", str(output), first[:length]) == whole
    code, _, err = run_cli(capsys, "show", str(output), "")
    assert code == 2 and " …" in err and sum(name in err for name in ids) == 10
    assert run_cli(capsys, "show", str(output), "zz")[0] == 1


def test_rows_of_a_reason_are_listed_bounded_with_rejected_seeds_by_file_and_line(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = json.loads((output / "manifest.json").read_text())["rows"]["rejected"]
    code, out, _ = run_cli(capsys, "show", str(output), "--reason", "refusal", "-n", "3")
    lines = out.splitlines()
    assert code == 0 and lines[0] == f"rows      {refused['refusal']} refusal; the first 3:" and len(lines) == 4
    row = lines[1].split()[0]
    assert "reason refusal" in run_cli(capsys, "show", str(output), row)[1]
    assert len(run_cli(capsys, "show", str(output), "--reason", "truncated")[1].splitlines()) == 1 + min(10, refused["truncated"])
    broken = run_cli(capsys, "show", str(output), "--reason", "broken_json")[1]
    assert broken == f"rows      0 broken_json\nseeds     rejected broken_json 1: {output.parent}/seeds.jsonl:14\n"


def test_rows_are_listed_a_few_of_each_kind_or_of_a_split(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((output / "manifest.json").read_text())
    kinds = [f"{rows:,} of {split}" for split, rows in manifest["splits"].items()]
    kinds += [f"{rows:,} {reason}" for reason, rows in manifest["rows"]["rejected"].items()]
    code, out, _ = run_cli(capsys, "show", str(output))
    assert code == 0 and "synth-ray view" in out.splitlines()[-1]
    assert {line.split("; ")[0].removeprefix("rows      ") for line in out.splitlines() if line.startswith("rows")} == set(kinds)
    split, rows = next(iter(manifest["splits"].items()))
    listed = run_cli(capsys, "show", str(output), "--split", split, "-n", "1000")[1].splitlines()
    ids = {line.split()[0] for line in listed[1:]}
    assert len(ids) == rows and f"id {min(ids)}" in run_cli(capsys, "show", str(output), min(ids))[1]
    texts = run_cli(capsys, "show", str(output), "--split", split, "-n", "1", "--text")[1]
    assert len(texts.splitlines()) == 4 and "Answer" in texts and "Answer" not in "".join(listed)
    refused = run_cli(capsys, "show", str(output), "--reason", "refusal", "--split", split, "-n", "3")[1].splitlines()
    assert refused[0].startswith(f"rows      refusal of {split}; the first ") and all(split in line for line in refused[1:])
    assert run_cli(capsys, "show", str(output), "--reason", "echo", "--split", split)[1] == f"rows      0 echo of {split}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reason", "refusals"], "did you mean 'refusal'?"),
        (["--reason", "xyz"], "the reasons are "),
        (["abc", "--reason", "refusal"], "got both"),
        (["abc", "--split", "train"], "got both"),
        (["--split", "dev"], "there are: train"),
    ],
)
def test_show_says_what_it_can_be_asked(
    arguments: list[str], message: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_cli(capsys, "show", str(output), *arguments)
    assert code == 2 and message in err
