"""An answer's text, made of all its tokens at once where it is asked for, is what the engine would have made token by token."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_ray.ask.vllm.engine import EngineRequest, detokenize, load_tokenizer
from synth_ray.recipes.contract import Completion
from tests.conftest import TINY_TEACHER, TINY_THINKER

pytestmark = pytest.mark.vllm  # opens no engine, but imports all of vLLM


@cache
def tokenizer(folder: str) -> Any:
    return load_tokenizer({"tokenizer_name": folder, "tokenizer_mode": "auto", "revision": None, "trust_remote_code": False})


def token_by_token(folder: str, ask: EngineRequest, tokens: list[int], stopped: bool) -> str:
    """As the engine does: one update a step, the last with the reason of the end."""
    from vllm import SamplingParams
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    params = SamplingParams(**ask.sampling)
    request: Any = SimpleNamespace(request_id="", sampling_params=params, prompt_token_ids=ask.tokens, prompt_embeds=None)
    made = IncrementalDetokenizer.from_new_request(tokenizer(folder), request)
    for at, token in enumerate(tokens, 1):
        made.update([token], stopped and at == len(tokens))
    return str(made.get_next_output_text(True, False))


FOLDERS = st.sampled_from([str(TINY_TEACHER), str(TINY_THINKER)])
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["👩‍👩‍👧‍👦 é é", "<think>\nso\n</think>\n\n42", "日本語 ﷺ", "\ud7ff\u0000\n\t  x", " "]
)


@given(
    FOLDERS,
    st.lists(st.integers(0, 2047), max_size=40),
    TEXTS,
    st.lists(st.integers(0, 2047), max_size=3),
    st.booleans(),
    st.booleans(),
)
@example(str(TINY_THINKER), [], "<think>", [], True, False)
def test_a_text_of_all_tokens_is_the_text_made_token_by_token(
    folder: str, drawn: list[int], text: str, ends: list[int], stopped: bool, keeps_special: bool
) -> None:
    """Drawn tokens are broken characters and special tokens too; texts are cut anywhere by the prompt's end."""
    tokens = [*drawn, *tokenizer(folder).encode(text, add_special_tokens=False), *ends]
    for prompt in ([5], tokens[: len(tokens) // 2] or [5]):
        ask = EngineRequest(prompt, {"n": 1, "skip_special_tokens": not keeps_special})
        raw = (Completion("", "stop" if stopped else "length", 1, len(tokens)), tokens)
        assert detokenize(tokenizer(folder), ask, raw).text == token_by_token(folder, ask, tokens, stopped)
