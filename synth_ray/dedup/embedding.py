"""Embeds texts with a local model, for finding near-duplicates in other words.

Vectors are rounded to whole numbers from -127 to 127: comparisons are exact on any machine, and a vector takes a byte per
dimension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.columns import binary_column, texts_in
from synth_ray.dedup.normalise import FIELD
from synth_ray.errors import MissingResource

Array = np.ndarray[Any, Any]

_BATCH_TEXTS = 64
_MAX_TOKENS = 512
_TABLES = ("embeddings", "embedding.weight")  # the names model2vec and sentence-transformers' StaticEmbedding use


class Embedder(Protocol):
    def vectors(self, texts: Sequence[str]) -> Array:
        """N×D floats; vectors of any length, zero for a text without tokens."""
        ...


def open_embedder(model: str, *, key: str = "dedup.semantic.model") -> Embedder:
    """The model in a folder: a static table of token vectors, or a transformer. Nothing is downloaded.

    `key` is the job key that names the folder: an error begins with it. Raises MissingResource.
    """
    folder = Path(model).expanduser()
    try:
        for place in (folder, folder / "0_StaticEmbedding"):
            if (place / "tokenizer.json").is_file() and _tables(place):
                return StaticEmbedder(place)
        if (folder / "config.json").is_file():
            return TransformerEmbedder(folder, key=key)
    except MissingResource:
        raise
    except Exception as error:
        raise MissingResource(
            f"{key}: wanted a model that loads, got {type(error).__name__} from '{model}'; check that the folder is complete"
        ) from error
    raise MissingResource(
        f"{key}: wanted a folder with an embedding model (tokenizer.json and a table of token vectors in model.safetensors, or a "
        f"transformer with its config.json), got '{model}'; name one that is on disk"
    )


def dimensions_of(model: str) -> int | None:
    """How many numbers a vector of the model in a folder has, by its files' headers alone; None where they do not tell."""
    folder = Path(model).expanduser()
    for place in (folder, folder / "0_StaticEmbedding"):
        if (place / "tokenizer.json").is_file() and (tables := _tables(place)):
            return _width(place, next(name for name in _TABLES if name in tables))
    try:
        width = json.loads((folder / "config.json").read_text()).get("hidden_size")
    except (OSError, ValueError):
        return None
    return width if isinstance(width, int) else None


def _width(folder: Path, table: str) -> int:
    from safetensors import safe_open

    with safe_open(str(folder / "model.safetensors"), framework="numpy") as file:
        return int(file.get_slice(table).get_shape()[1])


def _tables(folder: Path) -> set[str]:
    from safetensors import safe_open

    if not (folder / "model.safetensors").is_file():
        return set()
    with safe_open(str(folder / "model.safetensors"), framework="numpy") as file:
        return set(file.keys()) & set(_TABLES)


class StaticEmbedder:
    """The mean of a text's token vectors (model2vec, StaticEmbedding): no neural network, thousands of texts a second."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        tensors = load_file(str(folder / "model.safetensors"))
        table = tensors[next(name for name in _TABLES if name in tensors)].astype(np.float32)
        table = table[tensors["mapping"]] if "mapping" in tensors else table
        self._table = table * tensors["weights"].astype(np.float32)[:, None] if "weights" in tensors else table
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def vectors(self, texts: Sequence[str]) -> Array:
        means = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for i, encoded in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            ids = [token for token in encoded.ids[:_MAX_TOKENS] if token < len(self._table)]
            if ids:
                means[i] = self._table[ids].mean(axis=0)
        return means


class TransformerEmbedder:
    """The mean of a transformer's last hidden states over a text's tokens (Reimers & Gurevych, 2019, arXiv 1908.10084)."""

    def __init__(self, folder: Path, *, key: str) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise MissingResource(
                f"{key}: wanted torch and transformers for a transformer, got none; install synth-ray[cpu] or synth-ray[gpu], or "
                "name a static model"
            ) from None
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self._model = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()

    def vectors(self, texts: Sequence[str]) -> Array:
        parts = [self._of(texts[at : at + _BATCH_TEXTS]) for at in range(0, len(texts), _BATCH_TEXTS)]
        return np.concatenate(parts) if parts else np.zeros((0, int(self._model.config.hidden_size)), np.float32)

    def _of(self, texts: Sequence[str]) -> Array:
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        with self._torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean: Array = ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).float().numpy()
        return mean


def to_int8(vectors: Array) -> Array:
    """Rows scaled to their largest component and rounded to int8."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    return np.rint(np.divide(vectors * 127, largest, out=np.zeros_like(vectors), where=largest > 0)).astype(np.int8)


def embedding_column(embedder: Embedder, texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The vector of each text, packed as bytes."""
    column = pc.replace_substring(texts_in(texts)[0], FIELD, "\n")
    vectors = to_int8(embedder.vectors(column.to_pylist()))
    return binary_column(vectors.reshape(-1).view(np.uint8), np.arange(len(vectors) + 1) * vectors.shape[1])


def vectors_in(column: pa.Array | pa.ChunkedArray) -> Array:
    """Unpack `embedding_column`: N×D int8. A row without a vector has zeros; D is 0 where no row has one."""
    values = column.to_pylist()
    width = max((len(value) for value in values if value), default=0)
    nothing = bytes(width)
    return np.frombuffer(b"".join(value or nothing for value in values), np.int8).reshape(len(values), width)
