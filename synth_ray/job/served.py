"""Models served elsewhere: by a server that answers at once, or through a provider's batch API within a day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, model_validator

from synth_ray.job.running import IN_FLIGHT_PER_SEQUENCE
from synth_ray.job.section import OneOrMore, Section, key


def _plain_url(url: str) -> str:
    if not re.match(r"https?://[^/@\s]+", url) or "@" in url:
        raise ValueError("wanted URLs that begin with http:// or https:// and hold no password, got another")
    if last := re.search(r"/((?:chat/)?completions|models)/*$", url):
        raise ValueError(f"wanted the base URL, which most often ends in /v1, got one that ends in {last[1]}; leave that out")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_plain_url)]


class Prices(NamedTuple):
    """US dollars per million tokens, by kind. Prompt tokens that were read from a cache or written into one cost those alone."""

    prompt: float = 0.0
    completion: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0


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
    def usd_per_1m(self) -> Prices:
        prompt = self.usd_per_1m_prompt
        return Prices(prompt, self.usd_per_1m_completion, prompt, prompt)


Provider = Literal["openai", "anthropic", "gemini", "bedrock"]

_URLS: Mapping[Provider, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "bedrock": "",
}
"""Where each provider is; the AWS chain knows where Bedrock is."""
_MOST_REQUESTS: Mapping[Provider, int] = {"openai": 50_000, "anthropic": 100_000, "gemini": 100_000, "bedrock": 50_000}
_KEYS_OF: Mapping[str, Provider] = {
    "version": "anthropic",
    "cache_prompts": "anthropic",
    "role_arn": "bedrock",
    "s3": "bedrock",
    "region": "bedrock",
    "least_requests": "bedrock",
}
"""Keys that one provider alone has a use for."""


class BatchApi(Section):
    """A provider's batch API: requests are sent together and answered within a day, at half the price."""

    provider: Provider = key(
        "openai",
        "Whose API it is: OpenAI's, or that of a server with its protocol (openai), Anthropic's Message Batches (anthropic), the "
        "Gemini API's batches (gemini), or batch inference of Amazon Bedrock (bedrock).",
        changes="nothing",
    )
    url: Url | None = key(
        None, "Base URL, such as https://host/v1. Left out, the provider's own; for Bedrock, the AWS chain's.", changes="nothing"
    )
    key_env: str = key(
        "",
        "Environment variable that holds the key; empty sends none. Bedrock has none: it takes the AWS chain's credentials.",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
        changes="nothing",
    )
    flavour: Literal["openai", "vllm"] = key(
        "openai",
        "The dialect of an openai server: vllm adds choices, patterns and top_k to OpenAI's protocol.",
        changes="nothing",
    )
    version: str = key("2023-06-01", "Anthropic's version header.", pattern=r"^\d{4}-\d\d-\d\d$", changes="nothing")
    cache_prompts: Literal["", "5m", "1h"] = key(
        "",
        "Anthropic: have the system message cached for so long, so that requests that share it read it at the cache's price.",
        changes="nothing",
    )
    role_arn: str = key("", "Bedrock: the role that reads the requests in `s3` and writes the results there.", changes="nothing")
    s3: str = key("", "Bedrock: s3://bucket/prefix for the files of requests and of results.", changes="nothing")
    region: str = key("", "Bedrock: the AWS region; left out, the AWS chain's.", changes="nothing")
    least_requests: int = key(
        100,
        "Bedrock: fewest records that it takes in one batch. Smaller batches are filled up with requests of one token, whose "
        "answers are dropped and whose cost, that of a few tokens each, is not counted.",
        ge=1,
        changes="nothing",
    )
    part_requests: int = key(20_000, "Most requests in one batch, and in flight in total.", ge=4, le=100_000, changes="nothing")
    part_bytes: int = key(100_000_000, "Most bytes of one batch's file.", ge=10_000, le=200_000_000, changes="nothing")
    quiet_s: float = key(
        5.0, "A batch that is not full is sent after this many seconds without a new request.", gt=0, changes="nothing"
    )
    poll_s: float = key(
        30.0,
        "Seconds between two polls of a batch; the interval grows up to tenfold. A batch whose creation had no reply is looked "
        "for during 10/3 of it before it is created again: less is a risk at a provider that lists late.",
        gt=0,
        changes="nothing",
    )
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
    usd_per_1m_completion: float = key(
        0.0, "List price of a million completion tokens, those of thoughts among them.", ge=0, changes="nothing"
    )
    usd_per_1m_cache_read: float | None = key(
        None,
        "Price of a million prompt tokens that are read from a cache, as a batch is billed for them: `price_share` does not "
        "apply, as providers differ in that. Left out, that of other prompt tokens.",
        ge=0,
        changes="nothing",
    )
    usd_per_1m_cache_write: float | None = key(
        None,
        "Price of a million prompt tokens that are written into a cache, as a batch is billed for them. Left out, that of other "
        "prompt tokens.",
        ge=0,
        changes="nothing",
    )
    price_share: float = key(0.5, "Price of a batch as a share of the list price.", gt=0, le=1, changes="nothing")

    @model_validator(mode="after")
    def _fits_its_provider(self) -> BatchApi:
        foreign = [name for name, owner in _KEYS_OF.items() if name in self.model_fields_set and owner != self.provider]
        if foreign:
            raise ValueError(
                f"wanted `{foreign[0]}` with provider '{_KEYS_OF[foreign[0]]}' alone, got '{self.provider}'; leave it out"
            )
        if self.flavour != "openai" and self.provider != "openai":
            raise ValueError(f"wanted `flavour` with provider 'openai' alone, got '{self.provider}'; leave it out")
        if self.part_requests > (most := _MOST_REQUESTS[self.provider]):
            raise ValueError(f"wanted part_requests of at most {most:,} for '{self.provider}', got {self.part_requests:,}")
        if self.provider == "bedrock":
            self._refuse_partial_bedrock()
        return self

    def _refuse_partial_bedrock(self) -> None:
        if self.key_env:
            raise ValueError("wanted no key_env for 'bedrock', got one; credentials come from the AWS chain")
        if not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/.+", self.role_arn):
            raise ValueError("wanted role_arn: arn:aws:iam::ACCOUNT:role/NAME for 'bedrock', got another form or none")
        if not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/[^?#]*)?", self.s3):
            raise ValueError("wanted s3: s3://bucket/prefix for 'bedrock', got another form or none")
        if self.least_requests > self.part_requests:
            raise ValueError(f"wanted least_requests of at most part_requests, got {self.least_requests:,}")

    @property
    def base_url(self) -> str:
        """The base URL; empty where the AWS chain knows it."""
        return self.url or _URLS[self.provider]

    @property
    def max_running(self) -> int:
        """Chosen so that the requests in flight on a replica, IN_FLIGHT_PER_SEQUENCE times this, are one batch."""
        return self.part_requests // IN_FLIGHT_PER_SEQUENCE

    @property
    def usd_per_1m(self) -> Prices:
        prompt, completion = self.usd_per_1m_prompt * self.price_share, self.usd_per_1m_completion * self.price_share
        cached = (self.usd_per_1m_cache_read, self.usd_per_1m_cache_write)
        return Prices(prompt, completion, *(prompt if price is None else price for price in cached))
