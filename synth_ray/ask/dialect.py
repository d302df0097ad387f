"""What one server turned out not to take, and what it is sent instead.

Law: a request is changed only where that keeps the meaning of the job, once for the whole teacher, and it is told; what would
change the meaning stops the run, with the name of the job's key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.ask.server_errors import ServerError, key_of
from synth_ray.errors import ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion

log = logging.getLogger(__name__)

LIMITS = ("max_tokens", "max_completion_tokens")
"""Two names of one parameter: servers know the older, the newer, or both."""

_NEUTRAL = {"top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Values that change nothing: a request without them asks the same."""


class Dialect:
    """Starts as OpenAI's protocol and is adapted by what the server refuses. `notes` tell each change, for the manifest."""

    def __init__(self, ways: Sequence[str] = ("",)) -> None:
        """`ways` are the keys by which the server may be told whether to think, in the order in which they are tried."""
        self.ways = ways
        self._way = 0
        self._thinks_unasked = False
        self.notes: list[str] = []
        self.asks_one_by_one = False
        self._limit = LIMITS[0]
        self._left_out: set[str] = set()

    @property
    def way(self) -> str:
        """The key that tells the server whether to think."""
        return self.ways[min(self._way, len(self.ways) - 1)]

    def heed_thoughts(self, model: Model, answers: Sequence[Completion]) -> None:
        """Tell of a server that thinks although it was told not to: one that ignores a key says nothing."""
        off = model.reasoning is not None and model.reasoning.think is False
        if off and not self._thinks_unasked and any(a.reasoning or a.reasoning_tokens for a in answers):
            self._thinks_unasked = True
            self._tell(f"models.teacher.reasoning.think: the server was told not to think by {self.way}, and thinks all the same")

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request as this server takes it."""
        renamed = {self._limit if name == LIMITS[0] else name: value for name, value in body.items()}
        if self.asks_one_by_one or renamed.get("n") == 1:
            renamed.pop("n", None)  # some servers refuse it, and all give one answer without it
        return {name: value for name, value in renamed.items() if name not in self._left_out}

    def adapt(self, error: ServerError, sent: Mapping[str, Any]) -> None:
        """Learn from a refused parameter of the request that was sent. Raises ServiceRefused where nothing can take its place."""
        name = error.parameter
        value = sent.get(name)
        if name == LIMITS[0]:
            self._rename_limit()
        elif name == "n":
            self.ask_one_by_one()
        elif name in self.ways[: self._way] and self.way not in sent:
            pass  # sent before the way was changed
        elif name == self.way and self._way + 1 < len(self.ways) and not error.is_value:
            self._way += 1
            self._tell(f"models.teacher.reasoning.think: the server refuses {name}; {self.way} tells it whether to think instead")
        elif (name == "temperature" and not error.is_value) or _NEUTRAL.get(name, ...) == value:
            self._leave_out(name, value)
        else:
            key = "models.teacher.reasoning.think" if name in self.ways and len(self.ways) > 1 else key_of(name)
            raise ServiceRefused(
                f"{key}: wanted a server that takes {name}, got HTTP {error.status} from {error.place}; change the "
                "key or leave it out, or take another server"
            )

    def ask_one_by_one(self) -> None:
        """From now on ask for one answer at a time."""
        if not self.asks_one_by_one:
            self.asks_one_by_one = True
            self._tell("n: the server gives one answer to an ask; further ones are asked one by one, each with its prompt")

    def _rename_limit(self) -> None:
        if self._limit != LIMITS[1]:
            self._limit = LIMITS[1]
            self._tell("max_tokens: the server refuses it; max_completion_tokens is sent instead")

    def _leave_out(self, name: str, value: Any) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            self._tell(f"{key_of(name)}: the server refuses {name} {value}; it is left out, and the server's own default holds")

    def _tell(self, note: str) -> None:
        self.notes.append(note)
        log.warning("%s", note)
