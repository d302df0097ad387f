"""Ten million rows end to end with a teacher that costs nothing, in pieces, and what a row costs on the way.

A call works at one run for `--minutes`, stops it with SIGTERM, as a node would, and the next call goes on with it; with
`--stop kill` the piece ends by SIGKILL. `record.json` beside the output holds what every piece measured, a killed one's too. The
table has a line for each size: what a row cost since the size before. Rows that a resumed piece admits again count for neither.
Memory is the proportional set size; the processor time of everything is that of the process tree.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.processes import cpu_s, pss, tree
from bench.results import RESULTS, report

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SHAPES = {"label": 10, "text": 60}  # words in an answer
_STOP_S = 900.0

Piece = dict[str, Any]
Steps = list[tuple[dict[str, Any], dict[str, Any]]]


def run_piece(folder: Path, arguments: argparse.Namespace, words: int, seconds: float) -> Piece:
    """Work at the run for so many seconds, and for as long as a clean stop takes."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "samples.jsonl"
    lines.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.scale_piece", str(folder), str(lines)]
    command += ["--rows", str(arguments.rows), "--engine", arguments.engine, "--words", str(words)]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    samples: list[dict[str, Any]] = []
    peak, told = 0, False
    try:
        while child.poll() is None:
            time.sleep(0.5)
            processes = tree(child.pid)
            memory, driver = sum(map(pss, processes)), pss(child.pid)
            peak = max(peak, memory)
            fresh = read_lines(lines)[len(samples) :]
            cpu = round(sum(map(cpu_s, processes)), 2)
            samples += [sample | {"pss": memory, "driver_pss": driver, "all_s": cpu} for sample in fresh]
            if not told and samples and time.monotonic() - began > seconds:  # before the first sample nobody hears a signal
                told = True
                child.send_signal(signal.SIGKILL if arguments.stop == "kill" else signal.SIGTERM)
            if time.monotonic() - began > seconds + _STOP_S:
                raise SystemExit(f"bench-scale: the piece did not stop within {_STOP_S:.0f} s of SIGTERM")
    finally:
        child.kill() if child.poll() is None else None
    if child.returncode and not told:
        raise SystemExit("bench-scale: the piece failed; its error is above. The next call goes on")
    samples += read_lines(lines)[len(samples) :]
    end = samples.pop()["end"] if samples and "end" in samples[-1] else {}
    return {"seconds": round(time.monotonic() - began, 1), "peak": peak, "samples": samples, "end": end}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a killed process may leave half of one."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def steps(pieces: list[Piece]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Neighbouring samples between which only new rows were admitted."""
    for piece in pieces:
        samples = [sample for sample in piece["samples"] if not sample["stage"] and "pss" in sample]
        asked = next((place for place, sample in enumerate(samples) if sample["new"]), len(samples))
        for before, after in zip(samples[asked:], samples[asked + 1 :], strict=False):
            if before["earlier"] == after["earlier"] and before["rows"] >= before["earlier"] and after["rows"] > before["rows"]:
                yield before, after


def curve(pieces: list[Piece], run: str) -> Iterator[dict[str, Any]]:
    """What a row cost between each size that was reached and the one before, and last which requests the store got."""
    smallest, requests = 0, Counter[str]()
    for size in SIZES:
        within = [(before, after) for before, after in steps(pieces) if smallest <= before["rows"] < size]
        if not within or within[-1][1]["rows"] < 0.97 * size:
            break
        rows = sum(after["rows"] - before["rows"] for before, after in within)
        requests, sent = _gained(within, "requests"), _gained(within, "bytes")
        last = within[-1][1]
        yield {"run": run, "rows": size, **_cost_of_a_row(within, rows)} | {
            "index bytes a kept row": round(last["index_bytes"] / max(1, last["kept"])),
            "driver MB": round(max(after["driver_pss"] for _, after in within) / 2**20),
            "all MB": round(max(after["pss"] for _, after in within) / 2**20),
            "store requests per 1k rows": round(1000 * requests.total() / rows, 2),
            "store MB per 1k rows": round(1000 * sent.total() / rows / 2**20, 2),
        }
        requests = Counter({name: round(1000 * n / rows, 3) for name, n in requests.items()})
        smallest = size
    for name, n in sorted(requests.items()):
        if n:
            yield {"run": run, "store requests": name, "store requests per 1k rows": n}


def _cost_of_a_row(within: Steps, rows: int) -> dict[str, float]:
    spent, times = _gained(within, "spent_s"), {name: _gain(within, name) for name in ("s", "driver_s", "all_s")}
    return {
        "rows/s": round(rows / times["s"]),
        "driver CPU s per 1k rows": round(1000 * times["driver_s"] / rows, 4),
        "all CPU s per 1k rows": round(1000 * times["all_s"] / rows, 4),
        "index µs a text": round(1e6 * spent["index"] / rows, 2),
        "admit µs a row": round(1e6 * spent["admit"] / rows, 2),
    }


def _gain(within: Steps, name: str) -> float:
    return float(sum(after[name] - before[name] for before, after in within))


def _gained(within: Steps, of: str) -> Counter[str]:
    """What each count of a kind gained."""
    gained: Counter[str] = Counter()
    for before, after in within:
        gained.update({name: value - before[of].get(name, 0) for name, value in after[of].items()})
    return gained


def ends(pieces: list[Piece], run: str) -> Iterator[dict[str, Any]]:
    """For each piece: what its start and its end took, and the rows that were there then."""
    for number, piece in enumerate(pieces):
        samples, end = piece["samples"], piece["end"]
        first = next((sample["s"] for sample in samples if sample.get("first_request")), None)
        earlier = max((sample["earlier"] for sample in samples), default=0)
        again = next((sample["s"] for sample in samples if earlier and sample["rows"] >= earlier), None)
        yield {
            "run": run,
            "piece": number + 1,
            "rows": max((sample["rows"] for sample in samples), default=0),
            "s": piece["seconds"],
            "first request s": first,
            "rows admitted again": earlier,
            "admitted again s": again,
            "finish s": round(end["spent_s"].get("finish", 0.0), 2) if end else None,
            "publish and report s": round(end["spent_s"].get("publish", 0.0), 2) if end else None,
            "digest": end.get("digest", "killed") if end.get("stopped") == "" or not end else "stopped",
        }


def work_at(shape: str, arguments: argparse.Namespace, seconds: float) -> list[Piece]:
    """One more piece of the run of a shape; nothing where it is done. Returns all pieces of its record."""
    folder = arguments.out / f"{shape}-{arguments.engine}-{arguments.rows}"
    record = folder / "record.json"
    pieces: list[Piece] = json.loads(record.read_text()) if record.exists() else []
    if not pieces or pieces[-1]["end"].get("stopped", "killed"):
        pieces.append(run_piece(folder, arguments, SHAPES[shape], seconds))
        record.write_text(json.dumps(pieces))
    return pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--engine", default="local", choices=("local", "ray"))
    parser.add_argument("--minutes", type=float, default=20.0, help="for each shape, without the time that a clean stop takes")
    parser.add_argument("--shapes", nargs="*", default=tuple(SHAPES), choices=SHAPES)
    parser.add_argument("--stop", default="term", choices=("term", "kill"), help="how a piece ends when its time is over")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "synth-ray-scale")
    arguments = parser.parse_args()
    table: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        pieces = work_at(shape, arguments, 60 * arguments.minutes)
        run = f"{shape}, {arguments.engine}"
        table += [*curve(pieces, run), *ends(pieces, run)]
    report("scale", [*of_other_runs(table), *table], packages=("ray", "pyarrow", "numba", "presidio-analyzer"))


def of_other_runs(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of earlier calls for other shapes and engines: one file shows them all."""
    path = RESULTS / "scale.json"
    earlier: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    ours = {row["run"] for row in table}
    return [row for row in earlier if row["run"] not in ours]


if __name__ == "__main__":
    main()
