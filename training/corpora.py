"""What each tiny model is trained on: its examples as text, its special tokens, its chat template, the shape of a batch."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from pathlib import Path

from grammar import chat
from thinker import DRILL, conversation, practice
from tokenizers import Regex
from transformers.utils.chat_template_utils import render_jinja_template

WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class Corpus(ABC):
    special: tuple[str, ...]
    """Tokens that are no text; the first one pads."""
    added: tuple[str, ...] = ()
    """Tokens that are text of the answer: `skip_special_tokens` keeps them."""
    end: str
    template: str
    pattern: Regex
    context: int
    rows: int
    length: int
    rows_begin_anew: bool
    peak: float = 2.5e-3
    """Highest learning rate."""

    @abstractmethod
    def text(self, draw: random.Random) -> str:
        """One example as the chat template renders it."""

    @abstractmethod
    def parts(self, draw: random.Random) -> list[str]:
        """One example without the template's tokens, for the tokenizer to learn from."""

    def given(self, text: str) -> list[tuple[int, int]]:
        """Spans of the text, in characters, that the model is given and need not write."""
        return []


class Teacher(Corpus):
    special = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
    end = "<|end|>"
    template = (
        "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    pattern = Regex(WORDS)
    context, rows, length, rows_begin_anew = 1024, 8, 256, False

    def text(self, draw: random.Random) -> str:
        asked, said = chat(draw)
        return f"<|user|>\n{asked}<|end|>\n<|assistant|>\n{said}<|end|>\n"

    def parts(self, draw: random.Random) -> list[str]:
        return list(chat(draw))


class Thinker(Corpus):
    """Qwen3's template and tokens. Every line break is a token of its own, so that the template's prefix of an answer is cut into
    tokens as it is within a whole conversation.
    """

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    added = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
    end = "<|im_end|>"
    template = (Path(__file__).parent / "qwen3.jinja").read_text(encoding="utf-8")
    pattern = Regex(rf"\n|{WORDS}")
    context, rows, length, rows_begin_anew = 2048, 2, 1024, True
    _tokens = re.compile("|".join(re.escape(token) for token in (*special, *added)))
    _given = re.compile(r"(?<=<\|im_start\|>assistant\n)(?:<think>\n\n</think>\n\n|<tool_call>|(?!<think>)\S+)")

    _draw = staticmethod(conversation)

    def text(self, draw: random.Random) -> str:
        one = self._draw(draw)
        rendered, _ = render_jinja_template([one.messages], tools=one.tools or None, chat_template=self.template)
        return rendered[0]

    def parts(self, draw: random.Random) -> list[str]:
        return [part for part in self._tokens.split(self.text(draw)) if part]

    def given(self, text: str) -> list[tuple[int, int]]:
        """An empty thought, which the template writes, and how an answer without a thought begins where the template shows none."""
        return [match.span() for match in self._given.finditer(text)]


class ThinkerPractice(Thinker):
    """The same model's second part: mostly sums, in short rows. Of a sum only the answer is learned, of a drill only the results.

    The names and numbers of a question are chance; to learn them takes most of the gradient and teaches no arithmetic.
    """

    rows, length, peak = 4, 256, 1.5e-3
    _draw = staticmethod(practice)
    _question = re.compile(r"\A.*?<\|im_start\|>assistant\n", re.DOTALL)

    _result = re.compile(r"(?<== )\d+\.")

    def given(self, text: str) -> list[tuple[int, int]]:
        if DRILL in text:
            results = [match.span() for match in self._result.finditer(text)]
            return list(zip([0, *(end for _, end in results)], [*(begin for begin, _ in results), len(text)], strict=True))
        question = self._question.match(text)
        return super().given(text) + ([question.span()] if question and "\n#### " in text else [])


CORPORA: dict[str, Corpus] = {"teacher": Teacher(), "thinker": Thinker(), "thinker-practice": ThinkerPractice()}
