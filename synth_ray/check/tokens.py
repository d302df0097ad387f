"""Counts tokens by the student's tokenizer: with tiktoken if it is byte-level BPE, else with the tokenizers library."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from synth_ray.errors import MissingResource

TokenCounter = Callable[[Sequence[str]], list[int]]

_GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def open_counter(name: str) -> TokenCounter:
    """A function from texts to token counts. Raises MissingResource if the tokenizer is not on this machine."""
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return _counter_of_file(file)
    return _counter_of_encoding(name)


def _counter_of_encoding(name: str) -> TokenCounter:
    import tiktoken

    if name not in tiktoken.list_encoding_names():
        raise MissingResource(f"check.tokenizer: wanted a local folder, a tokenizer.json or a tiktoken encoding, got '{name}'")
    try:
        encoding = tiktoken.get_encoding(name)
    except Exception as error:
        raise MissingResource(
            f"check.tokenizer: wanted the tiktoken encoding '{name}' on this machine, got {type(error).__name__}; "
            "set TIKTOKEN_CACHE_DIR to a folder that holds it, or name a local tokenizer.json"
        ) from None
    return _counter_of(encoding)


def _counter_of(encoding: Any) -> TokenCounter:
    return lambda texts: [len(tokens) for tokens in encoding.encode_ordinary_batch(list(texts), num_threads=1)]


def _counter_of_file(file: Path) -> TokenCounter:
    encoding = tiktoken_of(file)
    if encoding is not None:
        return _counter_of(encoding)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda texts: [len(e.ids) for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def tiktoken_of(file: Path) -> Any | None:
    """The tokenizer as a tiktoken Encoding, or None if it is not a plain byte-level BPE.

    tiktoken merges the pair of the lowest rank first, where the rank is the token's id; so ids must be in merge order.
    """
    described = json.loads(file.read_text(encoding="utf-8"))
    model, split = described.get("model", {}), _split_of(described.get("pre_tokenizer"))
    ordinary = model.get("type") == "BPE" and not model.get("byte_fallback") and not described.get("normalizer")
    if not ordinary or split is None or not _in_merge_order(model):
        return None
    import tiktoken

    added = {t["content"]: t["id"] for t in described.get("added_tokens", [])}
    special = {text: number for text, number in added.items() if text in model["vocab"]}
    ranks = {_bytes_of(token): number for token, number in model["vocab"].items() if token not in special}
    return tiktoken.Encoding(str(file), pat_str=split, mergeable_ranks=ranks, special_tokens=added)


def _in_merge_order(model: dict[str, Any]) -> bool:
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    ids = [model["vocab"].get("".join(pair), -1) for pair in pairs]
    return -1 not in ids and all(a < b for a, b in pairwise(ids))


def _split_of(described: dict[str, Any] | None) -> str | None:
    """The regular expression that splits text into words, if byte-level encoding is all that follows; else None."""
    if described is None:
        return None
    parts = described["pretokenizers"] if described["type"] == "Sequence" else [described]
    *before, last = parts
    if last["type"] != "ByteLevel" or last.get("add_prefix_space"):
        return None
    if not before:
        return _GPT2_SPLIT if last.get("use_regex", True) else None
    only = before[0]
    isolated = only["type"] == "Split" and only.get("behavior") == "Isolated" and not only.get("invert")
    return only["pattern"].get("Regex") if len(before) == 1 and isolated and not last.get("use_regex", True) else None


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTE_OF[c] for c in token)


def _byte_of_letter() -> dict[str, int]:
    """GPT-2's byte alphabet: printable bytes stand for themselves, the others for code points from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTE_OF = _byte_of_letter()
