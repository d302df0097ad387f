"""Formats for training a student on the likeliest tokens: whole tables of token ids, not rows of text.

Law: a format is a function of the rows and of the manifest's `top_k`. Rows without token ids are left out and counted.
`trl-distillation` has the dataset's own columns, flat, for the collator in docs/examples/kd_student.py. `distillkit` is what
DistillKit's own capture writes (distillkit/sample_logits_vllm.py, commit a61c2e7), in its exact form: every value a float16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from synth_ray.dataset.manifest import Manifest
from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.errors import JobError
from synth_ray.job.tokenizer import read_identity

Array = npt.NDArray[Any]
BATCH_ROWS = 128
IGNORED = -100
"""The label of a position that no loss counts."""

TRL_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.uint32())),
        ("answer_start", pa.int32()),
        *((name, TOP_K_COLUMNS[name]) for name in ("top_k_ids", "top_k_logprobs", "tail_mass")),
    ]
)
_BYTES = pa.list_(pa.list_(pa.uint8()))
DISTILLKIT_SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.uint64())),
        ("labels", pa.list_(pa.int64())),
        ("compressed_logprobs", _BYTES),
        ("bytepacked_indices", _BYTES),
    ]
)


def trl_distillation(rows: pa.Table, _facts: Mapping[str, Any]) -> pa.Table:
    prompts, answers = rows["prompt_ids"].combine_chunks(), rows["answer_ids"].combine_chunks()
    ids = [np.concatenate(pair) for pair in zip(_arrays(prompts), _arrays(answers), strict=True)]
    joined = {"input_ids": _lists(ids, pa.uint32()), "answer_start": pc.list_value_length(prompts).cast(pa.int32())}
    return pa.table([joined[name] if name in joined else rows[name] for name in TRL_SCHEMA.names], schema=TRL_SCHEMA)


def distillkit(rows: pa.Table, facts: Mapping[str, Any]) -> pa.Table:
    """The signal at a position is of the token after it, so the last token has none and is left out, as DistillKit's own packing
    does. `labels` are ignored before the last token of the prompt, which predicts the answer's first.
    """
    k, bits = int(facts["k"]), index_bits(int(facts["tokenizer"]["vocabulary"]))
    ids, labels, starts = [], [], []
    for prompt, answer in zip(_arrays(rows["prompt_ids"]), _arrays(rows["answer_ids"]), strict=True):
        tokens = np.concatenate([prompt, answer])[:-1]
        starts.append(len(prompt) - 1)
        ids.append(tokens)
        labels.append(np.where(np.arange(len(tokens)) < starts[-1], IGNORED, tokens.astype(np.int64)))
    lengths = [len(tokens) for tokens in ids]
    likely = _with_padding(rows["top_k_ids"], np.arange(k, dtype=np.uint32), starts)
    values = _with_padding(rows["top_k_logprobs"], np.full(k, -np.log(k), np.float16), starts)
    packed = pack_bits(likely, bits), np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 2 * k)
    return pa.table(
        [
            _lists(ids, pa.uint64()),
            _lists(labels, pa.int64()),
            _byte_lists(packed[1], lengths),
            _byte_lists(packed[0], lengths),
        ],
        schema=DISTILLKIT_SCHEMA,
    )


TABLE_FORMATS: dict[str, tuple[pa.Schema, Callable[[pa.Table, Mapping[str, Any]], pa.Table]]] = {
    "trl-distillation": (TRL_SCHEMA, trl_distillation),
    "distillkit": (DISTILLKIT_SCHEMA, distillkit),
}


def usable(rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """The rows that have the token ids of prompt and answer, and how many have not, by the reason."""
    with_tokens = rows.filter(pc.and_(pc.is_valid(rows["top_k_ids"]), pc.greater(pc.list_value_length(rows["answer_ids"]), 0)))
    whole = with_tokens.filter(pc.greater(pc.list_value_length(with_tokens["prompt_ids"]), 0))
    left = {"no likeliest tokens": len(rows) - len(with_tokens), "no token ids of the prompt": len(with_tokens) - len(whole)}
    return whole, {reason: n for reason, n in left.items() if n}


def facts_or_refuse(manifest: Manifest, name: str) -> dict[str, Any]:
    """The manifest's `top_k`. Raises JobError for a dataset that has none, or whose tokenizer is not known."""
    if not manifest.top_k:
        raise JobError(
            f"export: wanted rows with top_k_logprobs for format '{name}', got a dataset without; see docs/distillation.md"
        )
    if not manifest.top_k.get("tokenizer"):
        raise JobError(
            f"export: wanted a known tokenizer for format '{name}', got none in the manifest: a server does not tell it; "
            "name its folder as models.teacher.tokenizer and run `synth-ray curate`"
        )
    return manifest.top_k


def refuse_other_tokenizer(manifest: Manifest, student: str) -> None:
    """Raise JobError unless the student's tokenizer gives every id the meaning that it has in the dataset."""
    wanted = facts_or_refuse(manifest, "of token ids")["tokenizer"]
    try:
        got = read_identity(student)
    except JobError as error:
        raise JobError(f"--student: {error}") from None
    if got["digest"] != wanted["digest"]:
        raise JobError(
            f"--student: wanted the tokenizer of the dataset's token ids, {wanted['digest']} of {wanted['vocabulary']:,} tokens, "
            f"got {got['digest']} of {got['vocabulary']:,} in '{student}'; its ids mean other tokens: take a student of the "
            "teacher's family, or train on the texts"
        )


def sidecars(name: str, facts: Mapping[str, Any], *, longest: int) -> dict[str, str]:
    """Files beside the tables: file name to text. `longest` is the longest row's number of tokens."""
    if name == "trl-distillation":
        return {"distillation.json": json.dumps({key: facts[key] for key in ("k", "temperature", "mode", "tokenizer")}, indent=1)}
    compressor = {
        "d": facts["tokenizer"]["vocabulary"],
        "k": facts["k"],
        "exact_k": facts["k"],
        "exact_dtype": "float16",
        "polynomial_terms": None,
        "residual_bins": [],
        "delta_encoding": False,
        "error_diffusion": False,
    }
    run = {
        "model": "STUDENT",
        "output_path": "out",
        "sequence_length": longest,
        "dataset": {"train_dataset": {"disk_path": "PACKED"}, "prepacked": True},
        "teacher": {"kind": "dataset", "logprob_compressor": compressor},
        "loss_functions": [
            {"function": "kl", "weight": 1.0, "temperature": 1.0, "missing_probability_handling": "symmetric_uniform"}
        ],
    }
    first = f"# PACKED is what `python -m distillkit.pack_logits --dataset … --max-len {longest} --output PACKED` writes\n"
    return {
        "compression_config.yaml": yaml.safe_dump(compressor, sort_keys=False),
        "distillkit.yml": first + yaml.safe_dump(run, sort_keys=False),
    }


_PACKED_ROWS = 16_384


def index_bits(vocabulary: int) -> int:
    """Bits of one token id, as DistillKit counts them."""
    return max(1, (vocabulary - 1).bit_length())


def pack_bits(ids: Array, bits: int) -> Array:
    """Each row's ids one behind the other, the highest bit first; the last byte is filled with zeros."""
    places = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    packed = [np.zeros((0, -(-ids.shape[1] * bits // 8)), np.uint8)]
    for start in range(0, len(ids), _PACKED_ROWS):  # bits take 32 times the memory of what they are packed to
        part = ids[start : start + _PACKED_ROWS]
        stream = ((part[:, :, None] >> places) & 1).astype(np.uint8).reshape(len(part), -1)
        packed.append(np.packbits(stream, axis=1))
    return np.concatenate(packed)


def _arrays(column: Any) -> list[Array]:
    """The lists of a column as arrays over its memory."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values, offsets = lists.values.to_numpy(), np.asarray(lists.offsets)
    return [values[a:b] for a, b in pairwise(offsets)]


def _with_padding(column: Any, padding: Array, starts: list[int]) -> Array:
    """All positions of all rows, k entries each; those before a row's start have `padding`."""
    k = len(padding)
    parts = []
    for values, start in zip(_arrays(column), starts, strict=True):
        parts += [np.broadcast_to(padding, (start, k)), values.reshape(-1, k)]
    return np.concatenate(parts) if parts else padding[None, :][:0]


def _lists(arrays: list[Array], kind: pa.DataType) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    flat = np.concatenate(arrays) if arrays else np.zeros(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(kind.to_pandas_dtype())))


def _byte_lists(packed: Array, lengths: list[int]) -> pa.ListArray:
    inner = np.arange(0, packed.size + 1, max(1, packed.shape[1]), dtype=np.int32)
    positions = pa.ListArray.from_arrays(pa.array(inner), pa.array(packed.reshape(-1)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), positions)
