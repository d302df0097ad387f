"""What is prepared does not depend on who reads the seeds, or in what parts."""

from __future__ import annotations

import io
import json
import os
import random
import signal
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.processes import title, tree
from synth_ray import child_process
from synth_ray.job.load import job_from
from synth_ray.job.seeds import Source
from synth_ray.job.split import Split
from synth_ray.plan.plain import Row
from synth_ray.plan.seeds import SourcePiece, cut_source
from synth_ray.prepare import block_processes, sources
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.seed_blocks import BlockMaker, BlockRules, SeedBlock


def write_seeds(path: Path, *, rows: int) -> None:
    draw = random.Random(11)
    words = [f"word{i}" for i in range(400)]
    lines = [json.dumps({"prompt": " ".join(draw.choices(words, k=30)), "answer": f"call {i}@site.org"}) for i in range(rows)]
    near = [line.replace('"prompt": "', '"prompt": "other ') for line in lines[::5]]
    path.write_text("\n".join([*lines, "broken", *near, *lines[:9], '{"prompt": 3}', '{"prompt": "no answer"}']))


def prepared(folder: Path, spool: Path, **more: Any) -> tuple[Prepared, list[Any]]:
    spool.mkdir()
    document = {
        "name": "prepared",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted"}},
        "mix": {"real": str(folder / "mix.jsonl")},
        "scrub": {"seeds": True},
        "split": {"fractions": {"train": 0.6, "test": 0.4}},
        "output": str(folder / "out"),
    }
    result = prepare(job_from(document | more), spool=spool)
    batches = [row for rows in result.mixed.batches(7) for row in rows.to_pylist()]
    return result, [result.job_digest, result.count, result.mix_count, list(result.seeds), batches]


def test_processes_prepare_what_one_process_does_and_one_that_is_lost_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_seeds(tmp_path / "seeds.jsonl", rows=600)
    write_seeds(tmp_path / "mix.jsonl", rows=150)
    alone, content = prepared(tmp_path, tmp_path / "alone")
    assert alone.count.read == len(alone.seeds) + alone.count.rejected.total()
    assert alone.count.rejected["broken_json"] == 1
    assert alone.count.rejected["duplicate_seed"] == 9
    assert alone.mix_count.rejected["missing_field"] == 1

    def in_small_pieces(*args: Any, **kwargs: Any) -> Iterator[SourcePiece]:
        return cut_source(*args, piece_bytes=9000, **kwargs)

    def by_processes(pieces: Iterator[SourcePiece], maker: BlockMaker) -> Iterator[SeedBlock]:
        return block_processes.blocks_of(pieces, maker, processes=2, alone_s=0.0)

    started = child_process.subprocess.Popen
    pids = []

    def popen(*args: Any, **kwargs: Any) -> Any:
        process = started(*args, **kwargs)
        pids.append(process.pid)
        if len(pids) == 1:
            os.kill(process.pid, 9)
        return process

    monkeypatch.setattr(sources, "cut_source", in_small_pieces)
    monkeypatch.setattr(sources, "blocks_of", by_processes)
    monkeypatch.setattr(child_process.subprocess, "Popen", popen)
    assert prepared(tmp_path, tmp_path / "by processes")[1] == content
    assert len(pids) == 4


@dataclass(frozen=True)
class Faulty:
    """Part of a file with which something goes wrong in the process that reads it."""

    first: int
    reader: int
    fault: str

    def rows(self) -> Iterator[Row]:
        if self.fault == "error" and os.getpid() != self.reader:
            raise OddError(self.first, "a row's own text is not told")
        if self.fault == "kill" and os.getpid() != self.reader:
            os.kill(os.getpid(), signal.SIGKILL)
        return iter([Row(self.first, {"prompt": f"Question {self.first}", "answer": "yes"})])


class OddError(Exception):
    """One that cannot be sent, as its parts are not its arguments."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"{line}")


def readers() -> list[int]:
    return [pid for pid in tree(os.getpid()) if "block_processes" in title(pid)]


def blocks_of_parts(faults: dict[int, str]) -> Generator[SeedBlock, None, None]:
    source = Source(path="seeds.jsonl")
    parts = [SourcePiece(source, "seeds.jsonl", {}, Faulty(n, os.getpid(), faults.get(n, ""))) for n in range(1, 9)]  # type: ignore[arg-type]
    return block_processes.blocks_of(parts, BlockMaker(BlockRules(Split(), {"train": 1.0})), processes=2, alone_s=0.0)


def test_a_killed_process_is_told_with_its_place_and_its_part_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    assert [block.lines.tolist() for block in blocks_of_parts({3: "kill"})] == [[n] for n in range(1, 9)]
    assert "seeds.jsonl:3: wanted its rows, got the process that reads it killed by signal 9" in caplog.text
    assert readers() == []


def test_an_error_in_a_process_is_told_with_its_place() -> None:
    blocks = blocks_of_parts({2: "error"})
    assert next(blocks).lines.tolist() == [1]
    with pytest.raises(RuntimeError, match="OddError in a process that reads seeds") as raised:
        next(blocks)
    assert raised.value.__notes__[0] == "while the rows from seeds.jsonl:2 on were read"
    assert "in rows" in raised.value.__notes__[1]
    assert readers() == []


def test_who_is_interrupted_leaves_no_process_behind() -> None:
    with pytest.raises(KeyboardInterrupt), closing(blocks_of_parts({})) as blocks:
        next(blocks)
        assert len(readers()) == 2
        signal.raise_signal(signal.SIGINT)
    assert readers() == []


def test_where_no_process_can_start_this_one_reads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child_process.subprocess, "Popen", refused)
    assert len(list(blocks_of_parts({}))) == 8
    assert "0 of 2 processes that read seeds could start (Resource temporarily unavailable)" in caplog.text


def test_an_error_in_a_later_part_comes_in_its_place(tmp_path: Path) -> None:
    def pieces() -> Iterator[Any]:
        yield from cut_source(
            job.seeds[0], paths=[str(tmp_path / "seeds.jsonl")], open_file=lambda path: io.BytesIO(Path(path).read_bytes())
        )
        raise ValueError("the file ends here")

    write_seeds(tmp_path / "seeds.jsonl", rows=20)
    job = job_from(
        {
            "name": "e",
            "seeds": str(tmp_path / "seeds.jsonl"),
            "recipe": "distill",
            "models": {"teacher": {"engine": "scripted"}},
            "output": str(tmp_path / "out"),
        }
    )
    maker = BlockMaker(sources.rules_for_seeds(job, cells=(), with_seeds=False))
    blocks = block_processes.blocks_of(pieces(), maker, processes=2, alone_s=0.0)
    assert len(next(blocks).reasons) == 36
    with pytest.raises(ValueError, match="the file ends here"):
        next(blocks)
