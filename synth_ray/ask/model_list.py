"""What a server tells of its models before anything is asked: `GET /models`, in the forms that servers give it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from synth_ray.ask.server_errors import REFUSES_ALL, Meaning, error_in, refusal_of
from synth_ray.ask.server_text import json_in
from synth_ray.errors import MissingResource

_TIMEOUT_S = 30.0
_TRIES, _MOST_WAIT_S = 4, 30.0
_ROOM_NAMES = ("max_model_len", "context_length", "context_window", "max_context_length", "max_input_tokens", "n_ctx_train")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A server's entry for the job's model. `max_len` is None where the server does not tell it."""

    id: str
    owned_by: str = ""
    max_len: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One URL's reply: its models, or None with what came instead."""

    url: str
    models: list[dict[str, Any]] | None
    got: str
    is_up: bool = True


def address(url: str, path: str) -> str:
    """The URL of a path of the API. A query of the base URL stays at the end."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def list_models(url: str, headers: Mapping[str, str], key_env: str) -> Listing:
    """Ask a URL for its models. Raises MissingResource where it refuses the key, ServiceRefused where credit is used up."""
    place = address(url, "models")
    try:
        reply = _get(place, headers)
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        return Listing(url, None, f"{type(failure).__name__} at {place}", is_up=False)
    if reply.status_code == 200:
        models = models_in(json_in(reply.content))
        return Listing(url, models, f"{_kind(reply)} at {place}" if models is None else "")
    error = error_in(reply.status_code, reply.text)
    if error.meaning is Meaning.KEY:
        known = f"the key in {key_env}" if key_env else "no key, for models.endpoint.key_env names no variable"
        raise MissingResource(
            f"models.endpoint.key_env: wanted a key that the server takes, got HTTP {reply.status_code} from {place} for {known}"
        )
    if error.meaning is Meaning.CREDIT:
        raise refusal_of(replace(error, place=place), key_env=key_env)
    return Listing(url, None, f"{_kind(reply)} at {place}")


def _get(place: str, headers: Mapping[str, str]) -> httpx.Response:
    """The reply; a server that is busy or starting is asked a few times."""
    for attempt in range(_TRIES):
        reply = httpx.get(place, headers=dict(headers), timeout=_TIMEOUT_S, follow_redirects=True)
        if reply.status_code != 429 and reply.status_code < 500:
            break
        error = error_in(reply.status_code, reply.text, headers=reply.headers)
        if error.meaning in REFUSES_ALL or attempt == _TRIES - 1 or reply.status_code == 501:
            break
        time.sleep(min(_MOST_WAIT_S, error.wait_s or 0.25 * 2**attempt))
    return reply


def _kind(reply: httpx.Response) -> str:
    kind = "a web page" if "html" in reply.headers.get("content-type", "") else "no list of models"
    moved = f", after a redirect to {_bare(reply.url)}" if reply.history else ""
    return f"{kind} (HTTP {reply.status_code}{moved})"


def _bare(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}{url.path}"


def models_in(body: Any) -> list[dict[str, Any]] | None:
    """The models of a reply: a list, a list under `data` or `models`, or one model; their names may be all there is."""
    if isinstance(body, dict):
        lists = [body[name] for name in ("data", "models") if isinstance(body.get(name), list)]
        items = next((found for found in lists if found), lists[0] if lists else None)
        items = [body] if items is None and isinstance(body.get("id"), str) else items
    else:
        items = body
    return list(_named(items)) if isinstance(items, list) else None


def _named(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, str):
            yield {"id": item}
        elif isinstance(item, dict):
            name = next((item[key] for key in ("id", "name", "model") if isinstance(item.get(key), str)), "")
            if name:
                yield {**item, "id": name}


def find_model(name: str, models: Sequence[Mapping[str, Any]]) -> ListedModel | None:
    """The entry of a model. A server may list it with a prefix (`models/…`, an owner) or a tag (`:latest`)."""
    ids = [model["id"] for model in models]
    match = _match(name, ids)
    if match is None:
        return None
    model = models[ids.index(match)]
    return ListedModel(match, str(model.get("owned_by") or ""), next(iter(_rooms_in(model)), None))


def _match(name: str, ids: Sequence[str]) -> str | None:
    exact = [id_ for id_ in ids if id_ == name]
    folded = [id_ for id_ in ids if id_.casefold() == name.casefold()]
    longer = [id_ for id_ in ids if id_.endswith("/" + name) or name.endswith("/" + id_) or id_ == name + ":latest"]
    return next(iter([*exact, *folded, *longer]), None)


def _rooms_in(model: Mapping[str, Any]) -> Iterator[int]:
    parts = [part for part in (model, model.get("meta"), model.get("top_provider")) if isinstance(part, dict)]
    for part in parts:
        for name in _ROOM_NAMES:
            value = part.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 < value < 2**31:
                yield int(value)


def missing_model(name: str, models: Sequence[Mapping[str, Any]], url: str) -> MissingResource:
    ids = [model["id"] for model in models]
    near = difflib.get_close_matches(name, ids, 3, 0.3) or ids[:3]
    return MissingResource(
        f"models.model: wanted a model that the server has, got '{name}', which {address(url, 'models')} does not list; it has "
        f"{', '.join(near)}{' …' if len(ids) > len(near) else ''}"
    )


def no_server(listings: Sequence[Listing]) -> MissingResource:
    return MissingResource(
        f"models.endpoint.urls: wanted a server that answers, got none of {len(listings)}: "
        f"{'; '.join(listing.got for listing in listings[:3])}; check host and port, and that it is up"
    )


def wrong_address(listing: Listing, asked: str, headers: Mapping[str, str]) -> MissingResource:
    """The error for a URL under which nothing is served; names the one under it that is, if there is one."""
    better = address(listing.url, "v1")
    advice = "check the URL: most end in /v1"
    if not listing.url.endswith("/v1"):
        try:
            found = models_in(json_in(httpx.get(address(better, "models"), headers=dict(headers), timeout=_TIMEOUT_S).content))
        except httpx.HTTPError:
            found = None
        advice = f"{better} has a list of models: name that" if found is not None else advice
    return MissingResource(
        f"models.endpoint.urls: wanted a server with OpenAI's protocol, got {listing.got} and {asked}; {advice}"
    )
