"""Which tokenizer token ids are of: the identity of a vocabulary, whatever file it came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth_ray.errors import JobError


def identity_of(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """`digest` and `vocabulary`, one more than the highest id, of a vocabulary with its added tokens.

    Law: two tokenizers have one digest where every id stands for the same token; how they split a text does not count.
    """
    seen = hashlib.blake2b(digest_size=16)
    for token, id_ in sorted(vocabulary.items(), key=lambda entry: (entry[1], entry[0])):
        text = token.encode("utf-8", "backslashreplace")
        seen.update(b"%d:%d:%s" % (id_, len(text), text))
    return {"digest": seen.hexdigest(), "vocabulary": max(vocabulary.values(), default=-1) + 1}


def read_identity(folder: str) -> dict[str, Any]:
    """The identity of the tokenizer in a folder (or of a tokenizer.json). Raises JobError where none can be read."""
    place = Path(folder).expanduser()
    file = place / "tokenizer.json" if place.is_dir() else place
    if not file.is_file():
        raise JobError(f"wanted a folder with a tokenizer.json, got '{folder}', which has none")
    from tokenizers import Tokenizer

    try:
        vocabulary = dict(Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True))
        vocabulary |= _added_tokens(file.parent / "tokenizer_config.json")
    except Exception as error:  # tokenizers raises Exception itself
        raise JobError(f"wanted a tokenizer, got '{file}', which does not load ({type(error).__name__})") from None
    return identity_of(vocabulary)


def _added_tokens(config: Path) -> dict[str, int]:
    """Tokens that the configuration beside a tokenizer.json adds to it."""
    if not config.is_file():
        return {}
    added = json.loads(config.read_text(encoding="utf-8")).get("added_tokens_decoder") or {}
    return {str(token["content"]): int(id_) for id_, token in added.items()}
