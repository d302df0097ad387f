"""Sections of what a dataset took: speed over time, tokens, money and time, the estimate beside it, the engines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth_ray.ask.engine_start import PHASES
from synth_ray.report import charts
from synth_ray.report.blocks import Facts, Figure, Folded, Note, Section, Table, Text, section
from synth_ray.report.numerals import brief_seconds, count, is_number, number, plain, seconds, share, short, usd
from synth_ray.report.words import unit

Manifest = Mapping[str, Any]
Fact = tuple[str, Any, str]

_LINES = (
    ("tokens_s", "Tokens written per second", "ours"),
    ("in_flight", "Requests in flight", "ours"),
    ("replicas", "Engines running", "ours"),
)


def sections(manifest: Manifest) -> Iterator[Section | None]:
    yield section("speed", "Speed", "Speed", "Of the last run.", [*_timeline(manifest), _rates(manifest)])
    yield section(
        "cost",
        "Cost",
        "Tokens, time and money",
        "Over all runs that made this dataset, unless it says otherwise.",
        [_spent(manifest), _estimate(manifest)],
    )
    yield section(
        "engines", "Engines", "Engines", "What answered, with every argument as the engine resolved it.", list(_engines(manifest))
    )


def _timeline(manifest: Manifest) -> Iterator[Figure]:
    points = [p for p in (manifest.get("throughput") or {}).get("timeline") or () if is_number(p.get("t_s"))][:240]
    for name, title, colour in _LINES:
        line = [(p["t_s"], p[name]) for p in points if is_number(p.get(name))]
        if len(line) < 2 or (name == "replicas" and len({y for _, y in line}) == 1):
            continue
        top, end = max(y for _, y in line), line[-1][0]
        mean = sum(y for _, y in line) / len(line)
        about = f"{title} over {seconds(end)}: {count(mean)} on average, {count(top)} at most."
        yield Figure(
            title=title,
            svg=charts.lines([(colour, line)], title=title, about=about, area=True),
            x=[seconds(line[0][0]), seconds((line[0][0] + end) / 2), seconds(end)],
            x_name="since the run began",
            top=count(top),
            table=Table(title, ("since the run began", title.lower()), [(seconds(x), count(y)) for x, y in line], frozenset({1})),
            note=about,
        )


def _rates(manifest: Manifest) -> Facts | None:
    measured = manifest.get("throughput") or {}
    rates = measured.get("tokens_s") or {}
    facts: list[Fact] = []
    if isinstance(rates, Mapping) and is_number(rates.get("completion")) and rates["completion"]:
        facts.append(
            ("Tokens written per second", count(rates["completion"]), "between the first engine’s start and the last answer")
        )
    if number(measured.get("requests_s")):
        facts.append(("Requests per second", plain(measured["requests_s"]), ""))
    if number(measured.get("in_flight_mean")):
        facts.append(("Requests in flight, on average", plain(measured["in_flight_mean"]), ""))
    facts += [
        (unit(n).capitalize(), seconds(measured[n]), "")
        for n in ("first_replica_s", "first_answer_s", "tail_s")
        if number(measured.get(n))
    ]
    if number(measured.get("window_bound_share")):
        facts.append(("Held back by admission", share(measured["window_bound_share"]), "of the time"))
    return Facts(facts) if facts else None


def _spent(manifest: Manifest) -> Facts | None:
    tokens, cost = manifest.get("tokens") or {}, manifest.get("cost") or {}
    facts: list[Fact] = [
        (unit(name).capitalize(), count(n), _of_thoughts(manifest) if name == "reasoning" else "")
        for name, n in tokens.items()
        if number(n) or name == "completion"
    ]
    thoughts = manifest.get("thoughts") or {}
    if number(thoughts.get("cut")):
        facts.append(("Answers cut off in their thought", count(thoughts["cut"]), f"of {count(thoughts.get('answers'))} answers"))
    if cost and not number(cost.get("usd")):
        facts.append(("Money", "none recorded", "The job names no price for an engine’s hour or a token."))
    known = [
        (name, value)
        for name, value in cost.items()
        if is_number(value) and not (name.startswith("usd") and not number(cost.get("usd")))
    ]
    facts += [(unit(name).capitalize(), in_units(name, value), "") for name, value in known]
    return Facts(facts) if facts else None


def _of_thoughts(manifest: Manifest) -> str:
    """What share of the tokens written, and so of their cost, were thoughts, and how many of these came to nothing."""
    tokens, lost = manifest.get("tokens") or {}, ((manifest.get("thoughts") or {}).get("tokens") or {}).get("not_accepted")
    of = f"{share(tokens['reasoning'] / tokens['completion'])} of the tokens written" if number(tokens.get("completion")) else ""
    return "; ".join(part for part in (of, f"{count(lost)} in rows that were not accepted" if number(lost) else "") if part)


def in_units(name: str, value: Any, *, brief: bool = False) -> str:
    """A value in the unit that its name says; `brief` writes the unit short."""
    time = brief_seconds if brief else seconds
    if not is_number(value):
        return short(plain(value), 120)
    if name.startswith("usd"):
        return usd(value)
    if name.endswith("_s") or name == "seconds":
        return time(value)
    return time(3600 * value) if name == "hours" else plain(value)


def _estimate(manifest: Manifest) -> Table | None:
    """What was expected when the run began, beside what came. Of a run that stopped, of the share that was done."""
    estimate = manifest.get("estimate") or {}
    actual, share = estimate.get("actual") or {}, estimate.get("done_share", 1.0)
    body = [
        _expected(name, estimate[name], actual.get(name), share)
        for name in ("prompt_tokens", "completion_tokens", "usd", "hours")
        if isinstance(estimate.get(name), Mapping)
    ]
    part = f", for the {100 * share:.0f} % of the plan that was done" if share < 1 else ""
    head = ("", "expected", "between", "came", "off by")
    return Table(f"What was expected{part}, and what came", head, body, frozenset({1, 2, 3, 4})) if body else None


def _expected(name: str, of: Mapping[str, Any], actual: Any, share: float) -> tuple[str, ...]:
    """An interval {low, expected, high} of the whole plan. Without any lengths only the most possible is known."""
    low, expected, high = (share * value if is_number(value := of.get(end)) else None for end in ("low", "expected", "high"))
    came = in_units(name, actual) if is_number(actual) else "–"
    if expected is None:
        return unit(name).capitalize(), "–", f"at most {in_units(name, high)}", came, "–"
    off = f"{100 * (actual - expected) / expected:+.0f} %" if is_number(actual) and expected else "–"
    return unit(name).capitalize(), in_units(name, expected), f"{in_units(name, low)} to {in_units(name, high)}", came, off


def _engines(manifest: Manifest) -> Iterator[Table | Folded | Note | None]:
    engines = list((manifest.get("engines") or {}).items())[:20]
    body = [
        (
            short(role, 40),
            short(e.get("model") or "–", 80),
            short(e.get("revision") or "–", 60),
            short(e.get("engine") or "–", 40),
            _device(e),
            seconds(e.get("start_s")),
        )
        for role, e in engines
    ]
    if body:
        yield Table("Engines", ("role", "model", "revision", "engine", "device", "start took"), body, frozenset({5}))
    yield _starts(engines)
    for role, engine in engines:
        if engine.get("engine_args"):
            yield Folded(f"Arguments of {short(role, 40)}", [Text("As the engine resolved them", dumped(engine["engine_args"]))])
        for note in list(engine.get("notes") or ())[:5]:
            yield Note(f"{short(role, 40)}: {short(note, 300)}")


def _starts(engines: list[tuple[str, Mapping[str, Any]]]) -> Table | None:
    """The time of each start by what it consisted of; the rest is that of the process which asks."""
    told = [(role, e, e["start_phases_s"]) for role, e in engines if isinstance(e.get("start_phases_s"), Mapping)]
    names = [phase for phase in PHASES if any(phase in phases for _, _, phases in told)]
    body = [
        (short(role, 40), *(seconds(phases.get(name)) for name in names), seconds(_rest(engine, phases, names)))
        for role, engine, phases in told
    ]
    head = ("role", *names, "the rest")
    return Table("What the starts took", head, body, frozenset(range(1, len(head)))) if body else None


def _rest(engine: Mapping[str, Any], phases: Mapping[str, Any], names: Sequence[str]) -> float:
    known = sum(s for name in names if is_number(s := phases.get(name)))
    return max(0.0, engine["start_s"] - known) if is_number(engine.get("start_s")) else 0.0


def _device(engine: Mapping[str, Any]) -> str:
    device = short(engine.get("device") or "–", 60)
    return f"{plain(engine['devices'])} × {device}" if is_number(engine.get("devices")) and engine["devices"] > 1 else device


def dumped(value: Any, most: int = 4000) -> str:
    """A value as indented JSON, cut where it is long."""
    return short(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str), most)
