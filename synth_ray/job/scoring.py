"""Models that give numbers instead of text: reward models, classifiers, embedding models, and what may be asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import model_validator

from synth_ray.job.section import Section, key

Task = Literal["generate", "reward", "classify", "embed"]

SCALE = (1.0, 5.0)
"""Lowest and highest score of a rubric."""


class Scoring(Section):
    """How a model that gives numbers reads a text."""

    reads: Literal["conversation", "answer", "pair"] | None = key(
        None,
        "What a reward model or classifier is given: the conversation with its answer, in the model's own chat template; the "
        "answer's text alone; or question and answer as a pair, for a cross-encoder behind vLLM's server. Left out, the "
        "conversation, or the answer where `chat` is off.",
    )
    labels: list[str] = key(
        lambda: [], "A classifier's labels in the order of its outputs. Left out, the model's own; a server does not tell them."
    )
    too_long: Literal["fail", "cut"] = key(
        "fail",
        "A text longer than the model takes fails with prompt_too_long, or is cut: a conversation at its beginning, any other "
        "text at its end.",
    )
    prefix: str = key("", "Text put before every text to embed, as `passage: `; some models were trained with one.")
    pooling: Literal["last", "mean", "cls"] | None = key(
        None, "Which token states make an embedding, for vLLM; left out, what the model's folder says (sentence-transformers)."
    )
    dimensions: int | None = key(
        None, "Leading dimensions of an embedding to keep, for models trained for that (Matryoshka).", ge=1, le=8192
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> Scoring:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("wanted labels that differ, got one twice; a score is told by its label")
        return self


def misfits(task: Task, engine: str, scoring: Scoring, unused: Sequence[str]) -> Iterator[str]:
    """What is wrong with a model's task, one sentence each. `unused` are keys of the model's that are set and have no use for a
    model that gives numbers.
    """
    if task == "generate":
        if scoring != Scoring():
            yield "wanted a model that gives numbers for `scoring`, got task generate; say task: reward, classify or embed"
        return
    if unused:
        yield f"wanted no `{unused[0]}` for task {task}, got one; remove it (an adapter is merged into the model first)"
    if engine not in ("vllm", "endpoint", "scripted"):
        yield f"wanted engine vllm or endpoint for task {task}, got '{engine}'; a batch API gives no scores"
    if task == "classify" and engine != "vllm" and not scoring.labels:
        yield "wanted scoring.labels for a classifier outside this job's vLLM, got none; list them in its outputs' order"
    if scoring.labels and task != "classify":
        yield f"wanted scoring.labels for task classify alone, got task {task}; remove them"
    if task == "embed" and scoring.reads is not None:
        yield "wanted scoring.reads for task reward or classify, got task embed; remove it"
    if task == "classify" and scoring.reads == "pair":
        yield "wanted scoring.reads: pair for task reward alone, got task classify; vLLM's server scores pairs by one number"
    if task != "embed" and (scoring.pooling or scoring.dimensions or scoring.prefix):
        yield f"wanted scoring.pooling, dimensions and prefix for task embed alone, got task {task}; remove them"
    if scoring.reads == "pair" and engine == "vllm":
        yield "wanted engine endpoint for scoring.reads: pair, got vllm; serve the cross-encoder with `vllm serve`"
