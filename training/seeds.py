"""Write the demo's seeds and its held-out rows, from the grammar with other random seeds than training.

python training/seeds.py --out jobs/data
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from grammar import problem, support
from sums import gold, spread_problem, steps_of

SEEDS, HELD_OUT, PROBLEMS = 7, 11, 13


def rows(seed: int, *, messages: int, problems: int, answered: bool) -> list[dict[str, Any]]:
    """Customer messages and word problems; an answered row also has what the desk or the solver wrote."""
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    for _ in range(messages):
        one = support(draw)
        answer = {"answer": one.reply} if answered else {}
        found.append({"prompt": one.prompt, **answer, "kind": "support", "intent": one.intent, "tone": one.tone})
    for _ in range(problems):
        sum_ = problem(draw)
        answer = {"answer": sum_.answer} if answered else {}
        found.append({"prompt": sum_.prompt, **answer, "kind": "arithmetic", "intent": "word_problem", "tone": "plain"})
    draw.shuffle(found)
    return found


def problems_with_gold(seed: int, count: int) -> list[dict[str, Any]]:
    """Different problems from very easy to hard, each with the number that is right as text and how many steps lead to it."""
    draw, found = random.Random(seed), dict[str, dict[str, Any]]()
    while len(found) < count:
        one = spread_problem(draw)
        found[one.prompt] = {"prompt": one.prompt, "answer": gold(one), "steps": len(steps_of(one))}
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    files = {
        "seeds.jsonl": rows(SEEDS, messages=260, problems=140, answered=False),
        "held_out.jsonl": rows(HELD_OUT, messages=40, problems=20, answered=True),
        "word_problems.jsonl": problems_with_gold(PROBLEMS, 200),
    }
    for name, found in files.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in found]
        (out / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
