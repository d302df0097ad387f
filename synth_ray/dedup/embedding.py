"""Texts as vectors of meaning, by a local model: what near-duplicates in other words are told by.

Vectors are rounded to whole numbers of -127 to 127, so that a comparison is exact wherever it is made, and a vector is a byte
a dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.columns import binary_column, texts_in
from synth_ray.dedup.normalise import FIELD
from synth_ray.errors import MissingResource
from synth_ray.job.dedup import Semantic

Array = np.ndarray[Any, Any]

MOST_DIMENSIONS = 1040
"""Beyond it, sums of products are no longer whole numbers that float32 holds."""

_AT_ONCE = 64
_MOST_TOKENS = 512
_TABLES = ("embeddings", "embedding.weight")  # model2vec's name, and sentence-transformers' StaticEmbedding's


class Embedder(Protocol):
    def vectors(self, texts: Sequence[str]) -> Array:
        """N×D floats; any length, zero for a text without a token."""
        ...


def open_embedder(section: Semantic) -> Embedder:
    """The model of a folder: a static table of token vectors, or a transformer. Nothing is fetched. Raises Absent."""
    folder = Path(section.model).expanduser()
    try:
        for place in (folder, folder / "0_StaticEmbedding"):
            if (place / "tokenizer.json").is_file() and _tables(place):
                return Static(place)
        if (folder / "config.json").is_file():
            return Transformer(folder)
    except MissingResource:
        raise
    except Exception as error:
        raise MissingResource(
            f"dedup.semantic.model: wanted a model that loads, got {type(error).__name__} from '{section.model}'; check that the "
            "folder is complete"
        ) from error
    raise MissingResource(
        "dedup.semantic.model: wanted a folder with an embedding model (tokenizer.json and a table of token vectors in "
        f"model.safetensors, or a transformer with its config.json), got '{section.model}'; name one that is on disk"
    )


def _tables(folder: Path) -> set[str]:
    from safetensors import safe_open

    if not (folder / "model.safetensors").is_file():
        return set()
    with safe_open(str(folder / "model.safetensors"), framework="numpy") as file:
        return set(file.keys()) & set(_TABLES)


class Static:
    """The mean of a text's token vectors (model2vec, StaticEmbedding): no network, thousands of texts a second."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        held = load_file(str(folder / "model.safetensors"))
        table = held[next(name for name in _TABLES if name in held)].astype(np.float32)
        table = table[held["mapping"]] if "mapping" in held else table
        self._table = table * held["weights"].astype(np.float32)[:, None] if "weights" in held else table
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def vectors(self, texts: Sequence[str]) -> Array:
        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for i, encoded in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            ids = [one for one in encoded.ids[:_MOST_TOKENS] if one < len(self._table)]
            if ids:
                found[i] = self._table[ids].mean(axis=0)
        return found


class Transformer:
    """The mean of a transformer's last hidden states over a text's tokens (Reimers & Gurevych, 2019, arXiv 1908.10084)."""

    def __init__(self, folder: Path) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise MissingResource(
                "dedup.semantic.model: wanted torch and transformers for a transformer, got none; install synth-ray[cpu] or "
                "synth-ray[gpu], or name a static model"
            ) from None
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self._model = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()

    def vectors(self, texts: Sequence[str]) -> Array:
        parts = [self._of(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, int(self._model.config.hidden_size)), np.float32)

    def _of(self, texts: Sequence[str]) -> Array:
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
        with self._torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean: Array = ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).float().numpy()
        return mean


def rounded(vectors: Array) -> Array:
    """Rows scaled to their largest component and rounded to int8. Raises Absent for more than MOST_DIMENSIONS."""
    if vectors.shape[1] > MOST_DIMENSIONS:
        raise MissingResource(
            f"dedup.semantic.model: wanted vectors of at most {MOST_DIMENSIONS} dimensions, got {vectors.shape[1]}; "
            "name a smaller model"
        )
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    return np.rint(np.divide(vectors * 127, largest, out=np.zeros_like(vectors), where=largest > 0)).astype(np.int8)


def embedding_column(embedder: Embedder, texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The vector of each text, packed as its bytes."""
    said = pc.replace_substring(texts_in(texts)[0], FIELD, "\n")
    vectors = rounded(embedder.vectors(said.to_pylist()))
    return binary_column(vectors.reshape(-1).view(np.uint8), np.arange(len(vectors) + 1) * vectors.shape[1])


def vectors_in(column: pa.Array | pa.ChunkedArray) -> Array:
    """What `embedding_column` packed: N×D int8."""
    values = column.to_pylist()
    return np.frombuffer(b"".join(values), np.int8).reshape(len(values), -1) if values else np.zeros((0, 0), np.int8)
