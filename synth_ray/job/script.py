"""What the scripted teacher does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from synth_ray.job.section import Section, key

SPEED_OF_SCRIPT = {"latency_s", "slow_share", "slow_factor", "concurrency", "die_after", "refuse_after", "silent_after"}


class Script(Section):
    """The scripted teacher, for tests and trials: what it answers, how long that takes, and when it fails or dies."""

    answers: list[str] = key(
        lambda: [],
        "Jinja templates of answers, chosen by the ask's digest; empty means invented sentences.",
    )
    words: int = key(24, "Words in an invented answer.", ge=1, le=100_000)
    thought: int = key(0, "Words of an invented thought before the answer; 0 is none.", ge=0, le=100_000)
    thought_cut_share: float = key(0.0, "Share of thoughts cut off by the token limit, so that no answer follows.", ge=0, le=1)
    scores: dict[str, float] = key(
        lambda: {}, "With a `task`: words, and what each occurrence in a rated answer adds to its score; empty invents scores."
    )
    vocabulary: int = key(4000, "How many different words invented answers draw from.", ge=2)
    repeat_share: float = key(0.0, "Share of asks answered with an earlier answer, so that duplicates exist.", ge=0, le=1)
    latency_s: float = key(0.0, "Seconds from an ask to its answer.", ge=0, changes="nothing")
    slow_share: float = key(0.0, "Share of asks that take slow_factor times longer.", ge=0, le=1, changes="nothing")
    slow_factor: float = key(10.0, "How much longer a slow ask takes.", ge=1, changes="nothing")
    concurrency: int = key(256, "Answers in preparation at once, as max_num_seqs of an engine.", ge=1, changes="nothing")
    fail_share: float = key(0.0, "Share of asks that fail with engine_error.", ge=0, le=1)
    empty_share: float = key(0.0, "Share of asks answered with nothing.", ge=0, le=1)
    truncate_share: float = key(0.0, "Share of asks cut off by their token limit.", ge=0, le=1)
    poison: str = key("", "An ask whose prompt contains this text kills the engine; empty means none.")
    die_after: int | None = key(None, "The engine dies after this many answers.", ge=1, changes="nothing")
    refuse_after: int | None = key(
        None, "Every ask after this many answers is refused, as by a provider whose credit is used up.", ge=0, changes="nothing"
    )
    silent_after: int | None = key(
        None, "After this many answers the engine lives on and answers nothing any more.", ge=0, changes="nothing"
    )

    def facts(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The keys and their values; those of thoughts and scores only where it has any."""
        thoughts = () if self.thought else ("thought", "thought_cut_share")
        return self.model_dump(exclude={*exclude, *thoughts, *(() if self.scores else ("scores",))})
