"""Models served elsewhere: by a server that answers at once, or through a provider's batch API within a day."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from synth_ray.job.running import IN_FLIGHT_PER_SEQUENCE
from synth_ray.job.section import OneOrMore, Section, key


def _plain_url(url: str) -> str:
    if not re.match(r"https?://[^/@\s]+", url) or "@" in url:
        raise ValueError("wanted URLs that begin with http:// or https:// and hold no password, got another")
    if last := re.search(r"/((?:chat/)?completions|models)/*$", url):
        raise ValueError(f"wanted the base URL, which most often ends in /v1, got one that ends in {last[1]}; leave that out")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_plain_url)]


LEAST_TRY_S = 300.0
SLOWEST_TOKENS_S = 5.0
"""Tokens a second of one answer, below which a server is given up."""


class Endpoint(Section):
    """A server with OpenAI's protocol. Its key is only in an environment variable."""

    urls: Annotated[list[Url], OneOrMore] = key(
        ...,
        "Base URLs that serve the model, such as http://host:8000/v1; requests go to the least busy.",
        min_length=1,
        changes="nothing",
    )
    key_env: str = key(
        "",
        "Environment variable that holds the key; empty sends none.",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
        changes="nothing",
    )
    flavour: Literal["auto", "openai", "vllm", "sglang", "llamacpp", "deepseek", "openrouter"] = key(
        "auto",
        "The server's dialect: how it is told to think; vllm also adds choices, patterns and top_k to OpenAI's protocol. auto "
        "asks it, and looks at its address.",
        changes="nothing",
    )
    concurrency: int = key(
        256,
        "Most requests in flight to one URL; below that, the number adapts to the server.",
        ge=1,
        le=10_000,
        changes="nothing",
    )
    timeout_s: float | None = key(
        None,
        "Seconds until one try is given up. Left out, 300, or one for every five tokens that its answer may have.",
        gt=0,
        changes="nothing",
    )
    retries: int = key(8, "Most retries of one ask.", ge=0, changes="nothing")
    retry_share: float = key(0.2, "Most retries in all, as a share of the answers.", ge=0, le=10, changes="nothing")
    dead_after_s: float | None = key(
        None,
        "Seconds without any answer after which the servers count as dead. Left out, as long as the longest try may take.",
        gt=0,
        changes="nothing",
    )
    usd_per_1m_prompt: float = key(0.0, "Price of a million prompt tokens, for the cost.", ge=0, changes="nothing")
    usd_per_1m_completion: float = key(0.0, "Price of a million completion tokens, for the cost.", ge=0, changes="nothing")

    def try_s(self, tokens: int) -> float:
        """Seconds until a try is given up whose answer may have so many tokens."""
        return self.timeout_s or max(LEAST_TRY_S, tokens / SLOWEST_TOKENS_S)

    def silent_s(self, longest_try_s: float) -> float:
        """Seconds without any answer after which the servers count as dead, `longest_try_s` being that of the longest try."""
        return self.dead_after_s or max(LEAST_TRY_S, longest_try_s)

    @property
    def usd_per_1m(self) -> tuple[float, float]:
        return self.usd_per_1m_prompt, self.usd_per_1m_completion


class BatchApi(Section):
    """A provider's batch API (OpenAI's protocol): requests are uploaded in files and answered within a day, at half the price."""

    url: Url = key(..., "Base URL, such as https://host/v1.", changes="nothing")
    key_env: str = key(
        "",
        "Environment variable that holds the key; empty sends none.",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
        changes="nothing",
    )
    flavour: Literal["openai", "vllm"] = key(
        "openai", "The server's dialect: vllm adds choices, patterns and top_k to OpenAI's protocol.", changes="nothing"
    )
    part_requests: int = key(20_000, "Most requests in one batch, and in flight in total.", ge=4, le=50_000, changes="nothing")
    part_bytes: int = key(100_000_000, "Most bytes of one batch's file.", ge=10_000, le=200_000_000, changes="nothing")
    quiet_s: float = key(
        5.0, "A batch that is not full is sent after this many seconds without a new request.", gt=0, changes="nothing"
    )
    poll_s: float = key(30.0, "Seconds between two polls of a batch; the interval grows up to tenfold.", gt=0, changes="nothing")
    window_hours: int = key(24, "The provider's completion window.", ge=1, changes="nothing")
    max_rounds: int = key(
        4, "A job whose target would need more consecutive batches than this is refused.", ge=1, changes="nothing"
    )
    retries: int = key(2, "Most further batches in which an unanswered request is sent again.", ge=0, changes="nothing")
    timeout_s: float = key(300.0, "Seconds until one call to the provider is given up.", gt=0, changes="nothing")
    dead_after_s: float = key(
        3600.0, "Seconds without any reply after which the provider counts as dead.", gt=0, changes="nothing"
    )
    usd_per_1m_prompt: float = key(0.0, "List price of a million prompt tokens.", ge=0, changes="nothing")
    usd_per_1m_completion: float = key(0.0, "List price of a million completion tokens.", ge=0, changes="nothing")
    price_share: float = key(0.5, "Price of a batch as a share of the list price.", gt=0, le=1, changes="nothing")

    @property
    def max_running(self) -> int:
        """Chosen so that the requests in flight on a replica, IN_FLIGHT_PER_SEQUENCE times this, are one batch."""
        return self.part_requests // IN_FLIGHT_PER_SEQUENCE

    @property
    def usd_per_1m(self) -> tuple[float, float]:
        return self.usd_per_1m_prompt * self.price_share, self.usd_per_1m_completion * self.price_share
