"""Progress while a job runs: a live panel in a terminal, else a line every ten seconds, as text or as JSON."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from synth_ray.cli.logs import print_event
from synth_ray.cli.numbers import short_count, short_time, short_usd
from synth_ray.meter.pace import Pace, ProgressFacts
from synth_ray.meter.tally import Tally
from synth_ray.report.plain_words import plain_words

_HEARTBEAT_S = 10.0
_PANEL_S = 0.5
_REASONS_SHOWN = 4
_REASONS_IN_LINE = 3
_LABEL = 10


class Progress:
    """A context whose `show` takes each tally; it draws a panel every 0.5 s or prints a line every 10 s at most.

    `json`: each line is one JSON object, `event` progress; the first comes at once and one more at the end, so that a short run
    has some too. No line has a row's text. `label` begins each line, where several drivers write to one place.
    """

    def __init__(
        self, *, quiet: bool = False, json: bool = False, label: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._json = json
        self._clock = clock
        self._pace = Pace(clock)
        self._next_update_at = clock()
        self._has_shown = False
        self._stage = ""
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if not (self._quiet or self._json) and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
            self._live.update(Text("synth-ray · reading the job's input"), refresh=True)
        elif not self._json:
            self._next_update_at += _HEARTBEAT_S
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        elif self._json and self._has_shown and not self._quiet:
            self._print_json()

    def show(self, tally: Tally) -> None:
        """Call at every tick, from one thread."""
        self._pace.observe(tally)
        self._has_shown = True
        now = self._clock()
        is_new_stage = tally.stage != self._stage and (self._json or self._live is not None)
        if self._quiet or not (is_new_stage or now >= self._next_update_at):
            return
        self._stage = tally.stage
        self._next_update_at = now + (_HEARTBEAT_S if self._live is None else _PANEL_S)
        if self._live is not None:
            self._live.update(_panel(self._pace.facts(), self._console.width), refresh=True)
        elif self._json:
            self._print_json()
        else:
            print(self._label + heartbeat(self._pace.facts()), file=sys.stderr, flush=True)

    def _print_json(self) -> None:
        print_event("progress", self._pace.facts().record())


def heartbeat(facts: ProgressFacts) -> str:
    """The facts in one line."""
    if facts.asks and not facts.replicas and not facts.done:
        return f"{facts.elapsed_s:6.0f} s  replicas are starting ({_replicas(facts)})"
    parts = [
        f"{facts.elapsed_s:6.0f} s",
        f"{_done(facts)}, {_time_left(facts)}",
        f"accepted {facts.accepted:,}",
        _verdict("rejected", facts.rejected, _REASONS_IN_LINE),
        _verdict("failed", facts.failed, _REASONS_IN_LINE),
    ]
    asking = [
        f"in flight {facts.in_flight:,}",
        f"tokens/s {_tokens_per_second(facts)}",
        f"replicas {_replicas(facts)}",
        _cost(facts),
    ]
    return "  ".join(parts + (asking if facts.asks else []))


def panel_lines(facts: ProgressFacts, width: int) -> list[str]:
    """The facts as lines of `width` characters at most; in a narrow terminal a value goes on in the next line."""
    title = [f"synth-ray · {short_time(facts.elapsed_s)}", _time_left(facts)]
    lines = [" · ".join(title)] if width >= 40 else title
    if facts.share is not None:
        lines.append(_bar(facts.share, width))
    for label, value in _labelled(facts):
        lines += _wrapped(label, value, width)
    return [line[: max(1, width)] for line in lines]


def _panel(facts: ProgressFacts, width: int) -> Text:
    return Text("\n".join(panel_lines(facts, max(20, width - 1))), no_wrap=True, overflow="crop")


def _labelled(facts: ProgressFacts) -> Iterator[tuple[str, str]]:
    yield "done", _done(facts)
    yield "accepted", f"{facts.accepted:,} rows"
    yield from _reasons_of("rejected", facts.rejected)
    yield from _reasons_of("failed", facts.failed)
    if not facts.asks:
        return
    yield "cost", _cost(facts)
    yield "replicas", _replicas(facts)
    rate = f", {facts.requests_s:,.1f} requests/s" if facts.requests_s is not None else ""
    yield "in flight", f"{facts.in_flight:,} requests{rate}"
    yield "tokens/s", _tokens_per_second(facts)
    yield "tokens", f"{short_count(facts.tokens['prompt'])} in, {short_count(facts.tokens['completion'])} out"


def _reasons_of(verdict: str, reasons: Counter[str]) -> Iterator[tuple[str, str]]:
    yield verdict, f"{reasons.total():,}" + (f": {_top(reasons, _REASONS_SHOWN)}" if reasons else "")


def _verdict(verdict: str, reasons: Counter[str], shown: int) -> str:
    return f"{verdict} {reasons.total():,}" + (f" ({_top(reasons, shown)})" if reasons else "")


def _top(reasons: Counter[str], shown: int) -> str:
    """The commonest reasons, ties by name, then how many more there are."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    more = [f"{len(ordered) - shown} more reasons"] if len(ordered) > shown else []
    return ", ".join([f"{plain_words(reason)} {n:,}" for reason, n in ordered[:shown]] + more)


def _done(facts: ProgressFacts) -> str:
    if facts.total is None or facts.share is None:
        return f"{facts.done:,} {facts.unit}"
    unit = "accepted rows" if facts.unit == "rows" else facts.unit
    return f"{facts.done:,} of {facts.total:,} {unit} ({facts.share:.0%})"


def _time_left(facts: ProgressFacts) -> str:
    if facts.stage:
        return facts.stage
    return f"{short_time(facts.eta_s)} left" if facts.eta_s is not None else "time left -"


def _cost(facts: ProgressFacts) -> str:
    if facts.usd is None:
        expected = facts.replica_hours_expected
        end = f", about {expected:,.2f} at the end" if expected is not None else ""
        return f"{facts.replica_hours:,.2f} replica-hours so far{end}"
    end = f", about {short_usd(facts.usd_expected)} at the end" if facts.usd_expected is not None else ""
    return f"{short_usd(facts.usd)} so far{end}"


def _replicas(facts: ProgressFacts) -> str:
    starting = _starting(facts, "teacher", facts.replicas_starting)
    parts = [f"{facts.replicas} up", starting, f"{facts.replicas_lost} lost" if facts.replicas_lost else ""]
    for role, up in facts.pools.items():
        starting = _starting(facts, role, facts.pools_starting.get(role, 0))
        parts.append(f"{up} of {role}" + (f" ({starting})" if starting else ""))
    return ", ".join(filter(None, parts))


def _starting(facts: ProgressFacts, role: str, replicas: int) -> str:
    """How many replicas of a role start, and what they are doing, as far as they tell. Empty where none does."""
    phases = facts.phases.get(role, Counter())
    if not replicas or not phases:
        return f"{replicas} starting" if replicas else ""
    told = next(iter(phases)) if len(phases) == 1 == replicas else " and ".join(f"{n} {phase}" for phase, n in phases.items())
    return f"{replicas} starting: {told}"


def _tokens_per_second(facts: ProgressFacts) -> str:
    rates = (facts.prompt_tokens_s, facts.completion_tokens_s)
    return ", ".join(
        f"{'-' if rate is None else short_count(rate)} {way}" for rate, way in zip(rates, ("in", "out"), strict=True)
    )


def _bar(share: float, width: int) -> str:
    cells = max(4, min(60, width) - 6)
    full = int(share * cells)
    return f"{'━' * full}{'╌' * (cells - full)} {share:4.0%}"


def _wrapped(label: str, value: str, width: int) -> Iterator[str]:
    """A label and its value, whose further lines are indented."""
    indent = _LABEL if width >= 40 else 2
    line, is_first = f"{label:<{_LABEL}}" if width >= 40 else f"{label} ", True
    for word in value.split(" "):
        if len(line) + len(word) > width and line.strip():
            yield line.rstrip()
            line, is_first = " " * indent, False
        line += f"{word} "
    if line.strip() or is_first:
        yield line.rstrip()
