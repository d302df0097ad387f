"""What the asks of one request cost: tokens by kind, and dollars where tokens are billed by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_ray.job.served import Prices
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message

_BYTES_PER_TOKEN = 4
FREE = Prices()


@dataclass(slots=True)
class Spent:
    """Sums over asks. `estimated` tokens are among the others: their number was not told, and was estimated by length;
    `reasoning` tokens are among those of the completion.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    estimated: int = 0
    nano_usd: int = 0
    reasoning: int = 0

    def add(self, messages: Sequence[Message], answers: Sequence[Completion], price: Prices) -> None:
        """Add one ask. A prompt is paid for once, and again for every answer that was asked alone; what a cache held of it or
        took from it has a price of its own.
        """
        if len(answers) == 1 and self._add_counted(answers[0], price):
            return
        asked = "".join(message["content"] for message in messages)
        paid = [answers[0], *(answer for answer in answers[1:] if answer.asked_alone)]
        prompt = sum(self._told(answer.prompt_tokens, asked) for answer in paid)
        completion = sum(self._told(answer.completion_tokens, answer.text + answer.reasoning) for answer in answers)
        self.prompt += prompt
        self.completion += completion
        self.reasoning += sum(self._thought(answer) for answer in answers)
        read, written = sum(answer.cached_tokens for answer in paid), sum(answer.cache_written_tokens for answer in paid)
        self.cached += read
        of_cache = (price.cache_read - price.prompt) * read + (price.cache_write - price.prompt) * written
        self.nano_usd += round(1e3 * (price.prompt * prompt + price.completion * completion + of_cache))

    def _add_counted(self, answer: Completion, price: Prices) -> bool:
        """Add the only answer of an ask without a price, if all of it was counted: as nearly all are."""
        prompt, completion, thought = answer.prompt_tokens, answer.completion_tokens, answer.reasoning_tokens
        if prompt is None or completion is None or (thought is None and answer.reasoning) or price != FREE:
            return False
        self.prompt += prompt
        self.completion += completion
        self.reasoning += thought or 0
        self.cached += answer.cached_tokens
        return True

    @staticmethod
    def _thought(answer: Completion) -> int:
        """Tokens of the thought; where nobody counted them, the answer's by length."""
        if answer.reasoning_tokens is not None or not answer.reasoning:
            return answer.reasoning_tokens or 0
        total = answer.completion_tokens
        if total is None:
            return estimated_tokens(answer.reasoning)
        return total * len(answer.reasoning) // len(answer.reasoning + answer.text)

    def _told(self, count: int | None, text: str) -> int:
        if count is not None:
            return count
        guess = estimated_tokens(text)
        self.estimated += guess
        return guess


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: a token of most models is some four bytes long."""
    return -(-len(text.encode("utf-8", "backslashreplace")) // _BYTES_PER_TOKEN)
