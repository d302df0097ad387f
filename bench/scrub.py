"""The scrub beside stock Presidio: speed, identity, quality, hostile texts. `--quick` takes a tenth of everything.

Times are process CPU time on one core, engines interleaved, so that ratios hold on a busy machine. `--data FOLDER` also reads
a folder of real .jsonl, .json, .csv and .txt files and tells findings per megabyte by entity, never a value.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pii_corpus import Sample
from pii_fuzz import fragments, fuzzed
from pii_texts import corpus

from synth_ray.job.scrub import Scrub
from synth_ray.scrub import stock
from synth_ray.scrub.exact import ExactPatterns
from synth_ray.scrub.findings import Finding, spans_of
from synth_ray.scrub.opening import chooser
from synth_ray.scrub.patterns import PatternFinder
from synth_ray.scrub.scrubber import open_scrubber

RESULTS = Path(__file__).parent / "results" / "scrub.json"
NEVER = 1e18
Look = Callable[[str], list[Finding]]
STRUCTURED = frozenset(Scrub().wanted())
WORST = (
    "a.",
    "1.",
    ".....",
    "www.",
    ":",
    "(",
    "%",
    "1/2/",
    "12-",
    "1234 ",
    "a@",
    "a@a-",
    "DE89 1234 ",
    "+1",
    '"a.',
    "bc1q",
    "0x",
)
WORST += (
    "password is ",
    "call 5",
    "key=key=",
    "-----BEGIN PRIVATE KEY-----\n",
    "://a:",
    "<EMAIL_1>",
    "at dot ",
    "ssn 1234",
    "1",
    "a",
)
WORST += (
    "the quick brown fox ",
    "jane@mail.com ",
    "(212) 867-5309 ",
    "٣٤",
    "é@é.",
    "1.2.3.4 ",
    "2001:db8::1 ",
    "pin 1234 ",
    "eyJ.",
)


class Engines:
    def __init__(self) -> None:
        self._analyzer = stock.analyzer()
        exact, policy, section = ExactPatterns(), PatternFinder(Scrub()), Scrub()
        choose = chooser(section)
        self.stock: Look = lambda t: [Finding(r.entity_type, r.start, r.end, r.score) for r in self._analyzer.analyze(t, "en")]
        self.exact: Look = lambda t: exact.find([t], until=NEVER)[0]
        self.policy: Look = lambda t: choose(t, policy.find([t], until=NEVER)[0])
        self.stock_at_threshold: Look = lambda t: [
            f for f in self.stock(t) if f.score >= section.threshold and f.entity in STRUCTURED
        ]


def cpu(look: Look, texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        look(text)
    return time.process_time() - began


def speed(engines: Engines, texts: Sequence[str]) -> dict[str, float]:
    looks = {"stock": engines.stock, "exact": engines.exact, "policy": engines.policy}
    spent, read = Counter[str](), Counter[str]()
    for look in looks.values():
        cpu(look, texts[:30])
    for first in range(30, len(texts), 100):
        batch = texts[first : first + 100]
        for name, look in looks.items():
            some = batch[:25] if name == "stock" else batch
            spent[name] += cpu(look, some)
            read[name] += len(some)
    rates = {name: read[name] / spent[name] for name in looks}
    return {f"{name} texts/s": round(rate) for name, rate in rates.items()} | {
        f"{name} × stock": round(rates[name] / rates["stock"], 1) for name in ("exact", "policy")
    }


def identity(engines: Engines, *, records: int, cases: int) -> dict[str, int]:
    draw = random.Random(17)
    half = records // 2
    samples = [*corpus(half, seed=18), *corpus(records - half, seed=19, dense=False)]
    planted = fragments(samples[:500])
    differ = sum(engines.stock(s.text) != engines.exact(s.text) for s in samples)
    mangled = 0
    for _ in range(cases):
        text = fuzzed(draw, planted)
        mangled += engines.stock(text) != engines.exact(text)
    return {"records": records, "differences": differ, "fuzz cases": cases, "fuzz differences": mangled}


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
            hit = sum(covered[a:b]) >= 0.9 * (b - a)
            n[f"held {kind}"] += 1
            n[f"hit {kind}"] += hit
        n["traps"] += len(sample.traps)
        n["trapped"] += sum(any(covered[a:b]) for a, b, _ in sample.traps)
    kinds = sorted(k.removeprefix("held ") for k in n if k.startswith("held "))
    held, hits = sum(n[f"held {k}"] for k in kinds), sum(n[f"hit {k}"] for k in kinds)
    without = held - n["held SECRET"], hits - n["hit SECRET"]
    return {
        "recall": round(hits / held, 4),
        "recall without secrets": round(without[1] / without[0], 4),
        "precision": round(n["right"] / max(1, n["found"]), 4),
        "hard negatives hit": round(n["trapped"] / n["traps"], 4),
        **{f"recall {k}": round(n[f"hit {k}"] / n[f"held {k}"], 3) for k in kinds},
    }


def hostile(engines: Engines, *, size: int) -> dict[str, Any]:
    scrubber = open_scrubber(Scrub(record_timeout_s=120))
    took = {}
    for shape in WORST:
        text = shape * (size // len(shape))
        began = time.process_time()
        assert scrubber.records([text])[0].reason is None, shape
        took[shape.strip()[:20]] = round(time.process_time() - began, 2)
    small = cpu(engines.stock, ["a." * 5000])
    worst = max(took, key=lambda shape: took[shape])
    return {"bytes": size, "worst shape": worst, "worst s": took[worst], "stock s, 10 kB of 'a.'": round(small, 1), "all s": took}


def replacing(samples: Sequence[Sample]) -> dict[str, int]:
    key = {"SYNTH_RAY_SCRUB_KEY": "a key for this benchmark"}
    chats = [[{"role": "user", "content": part} for part in s.text.split("\n\n")] for s in samples]
    rates = {}
    for replace in ("placeholder", "surrogate"):
        scrubber = open_scrubber(Scrub(replace=replace), environment=key)  # type: ignore[arg-type]
        scrubber.records(chats[:30])
        began = time.process_time()
        scrubber.records(chats[30:])
        rates[f"records/s, {replace}"] = round((len(chats) - 30) / (time.process_time() - began))
    return rates


def real(look: Look, folder: Path) -> dict[str, Any]:
    told = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".jsonl", ".json", ".csv", ".txt", ".py"):
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        texts = json_texts(text, file.suffix)
        found = Counter(s.entity for t in texts for s in spans_of(look(t)))
        size = sum(len(t.encode()) for t in texts) / 1e6
        told[file.name] = {
            "texts": len(texts),
            "MB": round(size, 2),
            "per MB": round(sum(found.values()) / size, 1),
            **sorted_counts(found),
        }
    return told


def json_texts(text: str, suffix: str) -> list[str]:
    if suffix == ".json":
        return [json.dumps(row, ensure_ascii=False) for row in json.loads(text)]
    return [line for line in text.splitlines() if line.strip()] if suffix != ".py" else [text]


def sorted_counts(found: Counter[str]) -> dict[str, int]:
    return dict(sorted(found.items()))


def machine() -> dict[str, Any]:
    packages = ("presidio-analyzer", "google-re2", "phonenumbers", "regex", "tldextract")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "versions": {name: version(name) for name in packages},
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a tenth of everything, and no result file")
    options.add_argument("--data", type=Path, help="a folder of real files to read as well")
    chosen = options.parse_args()
    part = 10 if chosen.quick else 1
    engines = Engines()
    held_out = corpus(3000 // part, seed=33)
    figures: dict[str, Any] = {
        "speed, dense chat of about 200 words": speed(engines, [s.text for s in corpus(3000 // part, seed=31)]),
        "speed, sparse chat": speed(engines, [s.text for s in corpus(3000 // part, seed=32, dense=False)]),
        "records": replacing(corpus(1000 // part, seed=34)),
        "quality, policy": quality(engines.policy, held_out),
        "quality, stock at threshold 0.4": quality(engines.stock_at_threshold, held_out),
        "hostile": hostile(engines, size=1_000_000 // part),
        "identity": identity(engines, records=14_000 // part, cases=17_000 // part),
    }
    if chosen.data:
        figures["real files"] = real(engines.policy, chosen.data)
    for name, told in figures.items():
        print(f"\n{name}")
        for key, value in told.items():
            print(f"  {key:<28} {value}")
    if not chosen.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        command = " ".join(["python", *[a for a in sys.argv if not a.startswith("/")]])
        RESULTS.write_text(
            json.dumps({"command": command, "machine": machine(), "figures": figures}, indent=1, ensure_ascii=False) + "\n"
        )


if __name__ == "__main__":
    main()
