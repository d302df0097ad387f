"""How long a server may take: as long as its longest answer needs, unless the job says otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.job.served import Endpoint

URL = "http://127.0.0.1:8000/v1"


@given(st.integers(0, 1_000_000))
def test_a_try_lasts_as_long_as_a_slow_server_needs_for_its_tokens(tokens: int) -> None:
    endpoint = Endpoint(urls=[URL])
    assert endpoint.try_s(tokens) >= max(300, tokens / 5)
    assert endpoint.silent_s(endpoint.try_s(tokens)) >= endpoint.try_s(tokens)


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.integers(0, 1_000_000))
def test_the_times_of_the_job_hold(try_s: float, silent_s: float, tokens: int) -> None:
    endpoint = Endpoint(urls=[URL], timeout_s=try_s, dead_after_s=silent_s)
    assert (endpoint.try_s(tokens), endpoint.silent_s(1e9)) == (try_s, silent_s)
