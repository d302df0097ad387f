"""Requests sent between driver and teacher are unchanged by serialization."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.cluster.request_tuples import requests_from_tuples, requests_to_tuples
from synth_ray.records import Origin, Request, Seed

_FIELDS = st.dictionaries(
    st.text(max_size=3), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text())), max_size=3
)
_SEEDS = st.builds(
    Seed, st.text(), st.text(), st.text(), _FIELDS, st.text(), st.integers(), st.sampled_from(list(Origin)), st.integers(0, 9)
)
_SHOTS = st.lists(_SEEDS, max_size=3).map(tuple)
_REQUESTS = st.builds(
    Request, st.text(), st.integers(0), st.integers(0), _SEEDS, st.integers(0, 9), _SHOTS, st.integers(), st.integers()
)


@given(st.lists(_REQUESTS, max_size=4))
def test_requests_survive_serialization(requests: list[Request]) -> None:
    assert requests_from_tuples(pickle.loads(pickle.dumps(requests_to_tuples(requests)))) == requests
