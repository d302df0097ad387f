"""The scrub beside stock Presidio, in one table: speed, equality of findings, quality, slow texts.

Times are process CPU time on one core with engines interleaved, so that ratios are valid on a busy machine. `--data FOLDER` also
reads a folder of real .jsonl, .json, .csv, .txt and .py files and prints findings per megabyte, never a value.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import pii_records
from bench.pii_corpus import Sample
from bench.pii_fuzz import WORST, fragments, fuzzed
from bench.pii_texts import corpus
from bench.results import report
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect.patterns import PatternFinder
from synth_ray.scrub.findings import Finding, spans_of
from synth_ray.scrub.opening import finding_filter
from synth_ray.scrub.presidio import stock
from synth_ray.scrub.presidio.exact import ExactPatterns
from synth_ray.scrub.scrubber import open_scrubber

NEVER = 1e18
Find = Callable[[str], list[Finding]]
Row = dict[str, Any]
STRUCTURED = frozenset(Scrub().entities_to_find())


class Engines:
    """Stock Presidio, the exact path with the same findings, and the policy with secrets."""

    def __init__(self) -> None:
        analyzer = stock.analyzer()
        exact, policy, section = ExactPatterns(), PatternFinder(Scrub()), Scrub()
        choose = finding_filter(section)
        self.stock: Find = lambda t: [Finding(r.entity_type, r.start, r.end, r.score) for r in analyzer.analyze(t, "en")]
        self.exact: Find = lambda t: exact.find([t], deadline=NEVER)[0]
        self.policy: Find = lambda t: choose(t, policy.find([t], deadline=NEVER)[0])
        self.stock_filtered: Find = lambda t: [
            f for f in self.stock(t) if f.score >= section.threshold and f.entity in STRUCTURED
        ]
        """Stock Presidio at the default threshold and for the default entities."""


def cpu_s(find: Find, texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        find(text)
    return time.process_time() - began


def speed(name: str, engines: Engines, texts: Sequence[str], to_reach: str) -> Row:
    finders = {"stock": engines.stock, "exact": engines.exact, "policy": engines.policy}
    spent, read = Counter[str](), Counter[str]()
    for find in finders.values():
        cpu_s(find, texts[:30])
    for first in range(30, len(texts), 100):
        for kind, find in finders.items():
            batch = texts[first : first + (25 if kind == "stock" else 100)]
            spent[kind] += cpu_s(find, batch)
            read[kind] += len(batch)
    rate = {kind: read[kind] / spent[kind] for kind in finders}
    ratio = f"× {rate['policy'] / rate['stock']:.1f} (exact × {rate['exact'] / rate['stock']:.1f})"
    return row(f"texts/s, {name}", *(round(rate[k]) for k in ("policy", "exact", "stock")), ratio, to_reach)


def row(figure: str, policy: Any, exact: Any = "", peer: Any = "", peer_ratio: str = "", to_reach: str = "") -> Row:
    return {
        "figure": figure,
        "scrub": policy,
        "exact path": exact,
        "stock Presidio": peer,
        "beside": peer_ratio,
        "to reach": to_reach,
    }


def identity(engines: Engines, *, records: int, cases: int) -> Iterator[Row]:
    draw = random.Random(17)
    samples = [*corpus(records // 2, seed=18), *corpus(records // 2, seed=19, dense=False)]
    planted = fragments(samples[:500])
    differ = sum(engines.stock(s.text) != engines.exact(s.text) for s in samples)
    yield row(f"differences from stock, {records:,} chats", "", differ, to_reach="0")
    differ = sum(engines.stock(text) != engines.exact(text) for text in (fuzzed(draw, planted) for _ in range(cases)))
    yield row(f"differences from stock, {cases:,} mangled texts", "", differ, to_reach="0")


def quality(find: Find, samples: Sequence[Sample]) -> dict[str, float]:
    """A value counts as found if nine tenths of it are covered, a trap as hit if any of it is."""
    n: Counter[str] = Counter()
    for sample in samples:
        covered = bytearray(len(sample.text))
        for start, end, _ in spans_of(find(sample.text)):
            covered[start:end] = b"\1" * (end - start)
            n["found"] += 1
            n["right"] += any(start < b and end > a for a, b, _ in sample.spans)
        for a, b, kind in sample.spans:
            for group in (kind, "secrets" if kind == "SECRET" else "structured identifiers"):
                n[f"planted {group}"] += 1
                n[f"hit {group}"] += sum(covered[a:b]) >= 0.9 * (b - a)
        n["traps"] += len(sample.traps)
        n["trapped"] += sum(any(covered[a:b]) for a, b, _ in sample.traps)
    groups = sorted(k.removeprefix("planted ") for k in n if k.startswith("planted ") and k != "planted SECRET")
    recall = {f"recall, {group}": n[f"hit {group}"] / n[f"planted {group}"] for group in groups}
    return {"precision": n["right"] / n["found"], "hard negatives hit": n["trapped"] / n["traps"], **recall}


def qualities(engines: Engines, samples: Sequence[Sample]) -> Iterator[Row]:
    to_reach = {"precision": "≥ .97", "hard negatives hit": "≤ .03", "recall, structured identifiers": "≥ .95"}
    own, peer = quality(engines.policy, samples), quality(engines.stock_filtered, samples)
    for figure in sorted(own, key=lambda name: (name not in to_reach, name)):
        yield row(figure, f"{own[figure]:.4f}", "", f"{peer[figure]:.4f}", "", to_reach.get(figure, ""))


def of_records(engines: Engines) -> Iterator[Row]:
    """The figures on records of many countries, of the part that no rule was tuned on. URLs are found here, too."""
    section = Scrub(entities=[*STRUCTURED, "URL"])
    finder, choose = PatternFinder(section), finding_filter(section)
    samples = pii_records.records("kept_back", 4000, seed=35)
    own = pii_records.figures(lambda t: spans_of(choose(t, finder.find([t], deadline=NEVER)[0])), samples)
    peer = pii_records.figures(
        lambda t: spans_of(f for f in choose(t, engines.stock(t)) if f.entity in {*STRUCTURED, "URL"}), samples
    )
    for figure in own:
        yield row(f"{figure}, records kept back", f"{own[figure]:.4f}", "", f"{peer[figure]:.4f}")


def hostile(engines: Engines, *, size: int) -> Row:
    """The slowest of the known shapes, through the whole scrub: find, replace, check again."""
    scrubber = open_scrubber(Scrub(record_timeout_s=120))
    seconds = {}
    for shape in WORST:
        text = shape * (size // len(shape))
        began = time.process_time()
        assert scrubber.records([text])[0].reason is None, shape
        seconds[shape] = time.process_time() - began
    worst = max(seconds, key=lambda shape: seconds[shape])
    peer = cpu_s(engines.stock, ["a." * 5000])
    figure = f"s, 1 MB of the worst of {len(WORST)} shapes ({worst.strip()!r})"
    return row(figure, f"{seconds[worst]:.1f}", "", f"{peer:.1f}", "stock: 10 kB of 'a.'", "≤ 5")


def replacement_speed(samples: Sequence[Sample]) -> Iterator[Row]:
    chats = [[{"role": "user", "content": part} for part in s.text.split("\n\n")] for s in samples]
    for replace in ("placeholder", "surrogate"):
        scrubber = open_scrubber(Scrub(replace=replace), environment={"SYNTH_RAY_SCRUB_KEY": "a key for this benchmark"})
        scrubber.records(chats[:30])
        began = time.process_time()
        scrubber.records(chats[30:])
        rate = (len(chats) - 30) / (time.process_time() - began)
        yield row(f"records/s, dense chat, {replace}s, read twice", round(rate))


def real_files(engines: Engines, folder: Path) -> Iterator[Row]:
    for file in sorted(folder.iterdir()):
        if file.suffix in (".jsonl", ".json", ".csv", ".txt", ".py"):
            texts = texts_of(file.read_text(encoding="utf-8", errors="replace"), file.suffix)
            size = sum(len(t.encode()) for t in texts) / 1e6
            counts = Counter(s.entity for t in texts for s in spans_of(engines.policy(t)))
            peer = sum(len(spans_of(engines.stock_filtered(t))) for t in texts)
            counts_text = ", ".join(f"{entity} {n}" for entity, n in sorted(counts.items()))
            yield row(f"findings/MB, {file.name}", round(sum(counts.values()) / size, 1), "", round(peer / size, 1), counts_text)


def texts_of(text: str, suffix: str) -> list[str]:
    if suffix == ".json":
        return [json.dumps(record, ensure_ascii=False) for record in json.loads(text)]
    return [text] if suffix == ".py" else [line for line in text.splitlines() if line.strip()]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, help="a folder of real files to read as well")
    arguments = options.parse_args()
    engines = Engines()
    dense, sparse = corpus(3000, seed=31), corpus(3000, seed=32, dense=False)
    rows = [
        speed("dense chat of about 200 words", engines, [s.text for s in dense], "≥ 1,000 and ≥ × 6"),
        speed("sparse chat", engines, [s.text for s in sparse], "≥ 7,000 and ≥ × 19"),
        *replacement_speed(corpus(1000, seed=34)),
        *qualities(engines, corpus(3000, seed=33)),
        *of_records(engines),
        hostile(engines, size=1_000_000),
        *identity(engines, records=14_000, cases=17_000),
    ]
    for figures in real_files(engines, arguments.data) if arguments.data else ():
        print(", ".join(f"{name}: {value}" for name, value in figures.items() if value != ""))
    report("scrub", rows, packages=("presidio-analyzer", "google-re2", "phonenumbers", "regex"))


if __name__ == "__main__":
    main()
