"""Before anything is asked: is there a server at every URL's end, does it take the key, and has it the model?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from synth_ray.ask.model_list import (
    ListedModel,
    Listing,
    find_model,
    list_models,
    missing_model,
    no_server,
    wrong_address,
)
from synth_ray.ask.scoring_protocol import place_of
from synth_ray.ask.server_errors import REFUSES_ALL, Meaning, error_in, refusal_of
from synth_ray.job.models import Model


def find_on_servers(model: Model, headers: Mapping[str, str], trial: Mapping[str, Any]) -> ListedModel:
    """The model as the servers list it; where none has a list, each is asked `trial` once. Raises MissingResource where none
    replies, or where the key or the model is not there; ServiceRefused where credit is used up.
    """
    assert model.endpoint is not None
    key_env = model.endpoint.key_env
    listings = [list_models(url, headers, key_env) for url in model.endpoint.urls]
    up = [listing for listing in listings if listing.is_up]
    if not up:
        raise no_server(listings)
    with_models = [listing for listing in up if listing.models]
    for listing in with_models:
        if found := find_model(model.model, listing.models or ()):
            return found
    if with_models:
        raise missing_model(model.model, with_models[0].models or (), with_models[0].url)
    for listing in up:
        _try_once(listing, model, headers, trial)
    return ListedModel(model.model)


def _try_once(listing: Listing, model: Model, headers: Mapping[str, str], trial: Mapping[str, Any]) -> None:
    """Ask a server that lists no models. Any reply of a model is good, a refusal of this very ask too."""
    assert model.endpoint is not None
    place = place_of(model, listing.url)
    try:
        reply = httpx.post(place, json=dict(trial), headers=dict(headers), timeout=model.endpoint.try_s(0))
    except httpx.HTTPError as failure:
        raise no_server([replace(listing, got=f"{type(failure).__name__} at {place}")]) from None
    error = replace(error_in(reply.status_code, reply.text, headers=reply.headers), place=place)
    is_page = "html" in reply.headers.get("content-type", "") and reply.status_code < 500
    if error.meaning is Meaning.PATH or is_page:
        raise wrong_address(listing, f"HTTP {reply.status_code} at {place}", headers)
    if reply.status_code != 200 and (error.meaning in REFUSES_ALL or error.meaning is Meaning.FORBIDDEN):
        raise refusal_of(error, key_env=model.endpoint.key_env)
