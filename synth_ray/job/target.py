"""How many accepted rows are wanted, and how they are balanced: requests are planned until that is reached."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import field_validator, model_validator

from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.seeds import Source


class Balance(Section):
    """Balances accepted rows over cells: one per value of a field or of several. Give one of shares, like, up_to."""

    by: Annotated[list[str], OneOrMore] = key(
        ...,
        "Field, or fields, whose values are the cells. If the seeds have it, a row is in its seed's cell and requests are "
        "planned for cells that lack rows; else the row's own field gives its cell, and cells can only be capped.",
        min_length=1,
        changes="admit",
    )
    shares: Literal["equal"] | dict[str, float] | None = key(
        None, "Each cell's share of target.accepted: `equal`, or shares by value.", changes="admit"
    )
    like: Source | None = key(None, "Real rows: each cell gets the share that it has among them.", changes="admit")
    up_to: int | None = key(
        None,
        "Rows that every cell is to have, its seeds included: only the missing ones are made. With `build`, whose rows are the "
        "seeds, the most that a cell keeps.",
        ge=1,
        changes="admit",
    )

    @field_validator("shares", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {str(name): share for name, share in value.items()} if isinstance(value, dict) else value

    @field_validator("shares")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if isinstance(value, dict) and (not value or any(share <= 0 for share in value.values())):
            raise ValueError("wanted a positive share for each value, got none or one that is not; leave unwanted values out")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Balance:
        ways = [name for name in ("shares", "like", "up_to") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"wanted one of shares, like, up_to, got {' and '.join(ways) or 'none'}")
        return self


class Target(Section):
    """How many accepted rows are wanted. Further rows are rejected(over_quota).

    Chunk k is planned from the state of admission after chunk k - lag, or after the first later one that shows that more is
    needed. So the same chunks give the same plan, however fast they were admitted.
    """

    accepted: int | None = key(None, "Accepted rows to stop at; left out, as many as the plan gives.", ge=1, changes="admit")
    balance: Balance | None = key(None, "How the accepted rows are spread.", changes="admit")
    max_requests: int | None = key(
        None,
        "Most requests for the target; left out, plan.requests, else ten times what is needed if every row is accepted.",
        ge=1,
        changes="admit",
    )
    lag: int = key(8, "Chunks between the newest planned one and the admission state it is planned from.", ge=1, changes="admit")
    close_below: float = key(
        0.02,
        "A cell whose last 128 requests or more were accepted at a lower rate than this is closed and reported.",
        ge=0,
        lt=1,
        changes="admit",
    )

    @model_validator(mode="after")
    def _balance_has_an_amount(self) -> Target:
        if self.balance is None:
            return self
        if (self.accepted is None) == (self.balance.up_to is None):
            raise ValueError("wanted target.accepted with balance.shares or balance.like, and none with balance.up_to")
        return self

    @property
    def is_set(self) -> bool:
        return self.accepted is not None or self.balance is not None
