"""The scrub beside stock Presidio, in one table: speed, identity, quality, hostile texts.

Times are process CPU time on one core, engines interleaved, so that ratios hold on a busy machine. `--data FOLDER` also reads
a folder of real .jsonl, .json, .csv, .txt and .py files and prints findings per megabyte, never a value.
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

from bench.pii_corpus import Sample
from bench.pii_fuzz import WORST, fragments, fuzzed
from bench.pii_texts import corpus
from bench.results import tell
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect.patterns import PatternFinder
from synth_ray.scrub.findings import Finding, spans_of
from synth_ray.scrub.opening import finding_filter
from synth_ray.scrub.presidio import stock
from synth_ray.scrub.presidio.exact import ExactPatterns
from synth_ray.scrub.scrubber import open_scrubber

NEVER = 1e18
Look = Callable[[str], list[Finding]]
Row = dict[str, Any]
STRUCTURED = frozenset(Scrub().wanted())


class Engines:
    """Stock Presidio, the same findings on the fast path, and the policy with secrets on top of it."""

    def __init__(self) -> None:
        analyzer = stock.analyzer()
        exact, policy, section = ExactPatterns(), PatternFinder(Scrub()), Scrub()
        choose = finding_filter(section)
        self.stock: Look = lambda t: [Finding(r.entity_type, r.start, r.end, r.score) for r in analyzer.analyze(t, "en")]
        self.exact: Look = lambda t: exact.find([t], deadline=NEVER)[0]
        self.policy: Look = lambda t: choose(t, policy.find([t], deadline=NEVER)[0])
        self.told: Look = lambda t: [f for f in self.stock(t) if f.score >= section.threshold and f.entity in STRUCTURED]
        """Stock at the threshold and for the entities of the job."""


def cpu(look: Look, texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        look(text)
    return time.process_time() - began


def speed(name: str, engines: Engines, texts: Sequence[str], to_reach: str) -> Row:
    looks = {"stock": engines.stock, "exact": engines.exact, "policy": engines.policy}
    spent, read = Counter[str](), Counter[str]()
    for look in looks.values():
        cpu(look, texts[:30])
    for first in range(30, len(texts), 100):
        for kind, look in looks.items():
            some = texts[first : first + (25 if kind == "stock" else 100)]
            spent[kind] += cpu(look, some)
            read[kind] += len(some)
    rate = {kind: read[kind] / spent[kind] for kind in looks}
    ratio = f"× {rate['policy'] / rate['stock']:.1f} (exact × {rate['exact'] / rate['stock']:.1f})"
    return row(f"texts/s, {name}", *(round(rate[k]) for k in ("policy", "exact", "stock")), ratio, to_reach)


def row(figure: str, policy: Any, exact: Any = "", peer: Any = "", beside: str = "", to_reach: str = "") -> Row:
    return {
        "figure": figure,
        "scrub": policy,
        "exact path": exact,
        "stock Presidio": peer,
        "beside": beside,
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


def quality(look: Look, samples: Sequence[Sample]) -> dict[str, float]:
    """A value counts as found when nine tenths of it are covered; a trap as hit when any of it is."""
    n: Counter[str] = Counter()
    for sample in samples:
        covered = bytearray(len(sample.text))
        for start, end, _ in spans_of(look(sample.text)):
            covered[start:end] = b"\1" * (end - start)
            n["found"] += 1
            n["right"] += any(start < b and end > a for a, b, _ in sample.spans)
        for a, b, kind in sample.spans:
            for of in (kind, "secrets" if kind == "SECRET" else "structured identifiers"):
                n[f"held {of}"] += 1
                n[f"hit {of}"] += sum(covered[a:b]) >= 0.9 * (b - a)
        n["traps"] += len(sample.traps)
        n["trapped"] += sum(any(covered[a:b]) for a, b, _ in sample.traps)
    told = {f"recall, {k[5:]}": n[f"hit {k[5:]}"] / n[k] for k in sorted(n) if k.startswith("held ") and k != "held SECRET"}
    return {"precision": n["right"] / n["found"], "hard negatives hit": n["trapped"] / n["traps"], **told}


def qualities(engines: Engines, samples: Sequence[Sample]) -> Iterator[Row]:
    to_reach = {"precision": "≥ .97", "hard negatives hit": "≤ .03", "recall, structured identifiers": "≥ .95"}
    ours, peer = quality(engines.policy, samples), quality(engines.told, samples)
    for figure in sorted(ours, key=lambda name: (name not in to_reach, name)):
        yield row(figure, f"{ours[figure]:.4f}", "", f"{peer[figure]:.4f}", "", to_reach.get(figure, ""))


def hostile(engines: Engines, *, size: int) -> Row:
    """The slowest of the known shapes, all the way through: found, replaced, read again."""
    scrubber = open_scrubber(Scrub(record_timeout_s=120))
    took = {}
    for shape in WORST:
        text = shape * (size // len(shape))
        began = time.process_time()
        assert scrubber.records([text])[0].reason is None, shape
        took[shape] = time.process_time() - began
    worst = max(took, key=lambda shape: took[shape])
    peer = cpu(engines.stock, ["a." * 5000])
    figure = f"s, 1 MB of the worst of {len(WORST)} shapes ({worst.strip()!r})"
    return row(figure, f"{took[worst]:.1f}", "", f"{peer:.1f}", "stock: 10 kB of 'a.'", "≤ 5")


def replacing(samples: Sequence[Sample]) -> Iterator[Row]:
    chats = [[{"role": "user", "content": part} for part in s.text.split("\n\n")] for s in samples]
    for replace in ("placeholder", "surrogate"):
        scrubber = open_scrubber(Scrub(replace=replace), environment={"SYNTH_RAY_SCRUB_KEY": "a key for this benchmark"})
        scrubber.records(chats[:30])
        began = time.process_time()
        scrubber.records(chats[30:])
        rate = (len(chats) - 30) / (time.process_time() - began)
        yield row(f"records/s, dense chat, {replace}s, read twice", round(rate))


def real(engines: Engines, folder: Path) -> Iterator[Row]:
    for file in sorted(folder.iterdir()):
        if file.suffix in (".jsonl", ".json", ".csv", ".txt", ".py"):
            texts = pieces(file.read_text(encoding="utf-8", errors="replace"), file.suffix)
            size = sum(len(t.encode()) for t in texts) / 1e6
            found = Counter(s.entity for t in texts for s in spans_of(engines.policy(t)))
            peer = sum(len(spans_of(engines.told(t))) for t in texts)
            told = ", ".join(f"{entity} {n}" for entity, n in sorted(found.items()))
            yield row(f"findings/MB, {file.name}", round(sum(found.values()) / size, 1), "", round(peer / size, 1), told)


def pieces(text: str, suffix: str) -> list[str]:
    if suffix == ".json":
        return [json.dumps(one, ensure_ascii=False) for one in json.loads(text)]
    return [text] if suffix == ".py" else [line for line in text.splitlines() if line.strip()]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, help="a folder of real files to read as well")
    chosen = options.parse_args()
    engines = Engines()
    dense, sparse = corpus(3000, seed=31), corpus(3000, seed=32, dense=False)
    rows = [
        speed("dense chat of about 200 words", engines, [s.text for s in dense], "≥ 1,000 and ≥ × 6"),
        speed("sparse chat", engines, [s.text for s in sparse], "≥ 7,000 and ≥ × 19"),
        *replacing(corpus(1000, seed=34)),
        *qualities(engines, corpus(3000, seed=33)),
        hostile(engines, size=1_000_000),
        *identity(engines, records=14_000, cases=17_000),
    ]
    for one in real(engines, chosen.data) if chosen.data else ():
        print(", ".join(f"{name}: {value}" for name, value in one.items() if value != ""))
    tell("scrub", rows, packages=("presidio-analyzer", "google-re2", "phonenumbers", "regex"))


if __name__ == "__main__":
    main()
