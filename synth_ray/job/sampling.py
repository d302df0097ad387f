"""How tokens are sampled."""

from __future__ import annotations

from synth_ray.job.section import Section, key


class Sampling(Section):
    """How tokens are sampled. A recipe may override a key for one of its asks."""

    temperature: float = key(0.8, "Randomness of the draw; 0 is greedy.", ge=0, le=5)
    top_p: float = key(1.0, "Nucleus: draw from the smallest set of tokens with this probability.", gt=0, le=1)
    top_k: int = key(0, "Draw from this many likeliest tokens; 0 means all.", ge=0)
    min_p: float = key(0.0, "Drop tokens less likely than this share of the likeliest.", ge=0, le=1)
    presence_penalty: float = key(0.0, "Penalty for tokens already present.", ge=-2, le=2)
    frequency_penalty: float = key(0.0, "Penalty for tokens in proportion to how often they occurred.", ge=-2, le=2)
    repetition_penalty: float = key(1.0, "Multiplicative penalty for repeated tokens.", gt=0)
    max_tokens: int = key(512, "Most tokens of one completion.", ge=1)
    stop: list[str] = key(lambda: [], "Strings that end a completion.")
    per_request_seed: bool = key(
        False,
        "Give every ask its own random seed: equal batches give equal answers, but sampling is slower.",
    )
