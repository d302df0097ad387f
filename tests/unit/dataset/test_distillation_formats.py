"""Students learn from the exported files: the loss is the forward KL of the teacher, nothing else, and it falls.

The teacher is the bundled one, run here by transformers, so that the truth is known: its whole distribution.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from synth_ray.ask.top_k import pack_top_k
from synth_ray.cli.arguments import FORMATS
from synth_ray.cli.main import main
from synth_ray.dataset import formats
from synth_ray.dataset.distillation_formats import TABLE_FORMATS, index_bits, pack_bits
from synth_ray.dataset.manifest import File, Manifest, Rows, manifest_etag, write_manifest
from synth_ray.dataset.top_k import TOP_K_COLUMNS, top_k_columns
from synth_ray.job.output import Output
from synth_ray.job.tokenizer import read_identity
from synth_ray.records import TOP_K
from synth_ray.storage import open_storage
from tests.conftest import ROOT, TINY_TEACHER
from tests.published import make_dataset

K = 16
ANSWERS = [
    "My parcel is late and nobody answers.",
    "Please send the invoice again.",
    "The lamp is broken. I want a refund.",
    "Yes.",
]

_spec = importlib.util.spec_from_file_location("kd_student", ROOT / "docs" / "examples" / "kd_student.py")
assert _spec is not None
assert _spec.loader is not None
kd_student = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kd_student)


class Truth:
    """Token ids of each row, where its answer begins, and the teacher's log-probabilities of every token at every position."""

    def __init__(self) -> None:
        tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
        self.model = AutoModelForCausalLM.from_pretrained(TINY_TEACHER, dtype=torch.float32).eval()
        prompt = tokenizer.encode("<|user|>\nWrite a message.<|end|>\n<|assistant|>\n", add_special_tokens=False)
        self.start = len(prompt)
        self.ids = [prompt + tokenizer.encode(f"{answer}<|end|>", add_special_tokens=False) for answer in ANSWERS]
        self.logprobs = [self.of(self.model, ids) for ids in self.ids]

    def of(self, model: Any, ids: list[int]) -> torch.Tensor:
        """Log-probabilities (positions of the answer, vocabulary), each of the token at that position."""
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        return torch.log_softmax(logits[self.start - 1 : -1], dim=-1)

    def kl(self, model: Any, *, k: int | None = None) -> float:
        """The mean forward KL from this student: of all tokens, or of the k likeliest and one for all others."""
        sums = []
        for ids, teacher in zip(self.ids, self.logprobs, strict=True):
            student = self.of(model, ids)
            if k is None:
                sums.append((teacher.exp() * (teacher - student)).sum(1))
                continue
            likely, places = teacher.topk(k, dim=1)
            inside = student.gather(1, places)
            tail, outside = 1 - likely.exp().sum(1), 1 - inside.exp().sum(1)
            sums.append((likely.exp() * (likely - inside)).sum(1) + tail * (tail / outside).log())
        return float(torch.cat(sums).mean())


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


@pytest.fixture
def dataset(tmp_path: Path, truth: Truth) -> Path:
    """A published dataset of these answers, and two rows without token ids."""
    packed: list[Any] = []
    for ids, logprobs in zip(truth.ids, truth.logprobs, strict=True):
        likely, places = logprobs.topk(K, dim=1)
        top_k = pack_top_k(ids[: truth.start], ids[truth.start :], places.numpy(), likely.numpy())
        packed.append({name: getattr(top_k, name) for name in TOP_K.names})
    packed += [None, packed[0] | {"prompt": b""}]
    names = pa.array([f"r{n}" for n in range(len(packed))])
    table = pa.table({"id": names, **top_k_columns(pa.chunked_array([pa.array(packed, TOP_K)]))})
    place = tmp_path / "out"
    storage = open_storage(str(place))
    manifest: Manifest = make_dataset(storage, Output(path=str(place)), chunks=range(1), rows=4)
    pq.write_table(table, place / "data" / "0.parquet")
    facts = {
        "files": [File(path="data/0.parquet", split="train", rows=6, bytes=1, sha256="0")],
        "splits": {"train": 6},
        "rejected_files": [],
        "rows": Rows(requested=6, accepted=6),
        "top_k": {"k": K, "temperature": 1.0, "mode": "raw_logprobs", "tokenizer": read_identity(str(TINY_TEACHER))},
    }
    write_manifest(storage, manifest.model_copy(update=facts), replaces=manifest_etag(storage))
    return place


def export(dataset: Path, name: str, *more: str) -> int:
    return main(["export", str(dataset), "--format", name, "--to", str(dataset.parent / "kd"), *more])


def student() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def trained(model: Any, loss_of: Any, steps: int = 20) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_a_student_learns_from_the_flat_form_and_its_loss_is_the_forward_kl(
    dataset: Path, truth: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(dataset, "trl-distillation", "--student", str(TINY_TEACHER)) == 0
    told = capsys.readouterr().out
    assert "4 rows, 1 left out (no likeliest tokens), 1 left out (no token ids of the prompt)" in told
    folder = dataset.parent / "kd"
    rows = list(datasets.load_dataset("parquet", data_files=str(folder / "train.parquet"), split="train"))
    assert [row["input_ids"] for row in rows] == truth.ids
    batch = kd_student.Collator(json.loads((folder / "distillation.json").read_text())["k"])(rows)
    likely = {name: batch.pop(name) for name in kd_student.LIKELY}

    def loss_of(model: Any) -> Any:
        return kd_student.kd_loss(model(**batch).logits, **likely)

    assert abs(loss_of(truth.model).item()) < 2e-3  # the teacher itself, but for float16
    new = student()
    assert loss_of(new).item() == pytest.approx(truth.kl(new, k=K), rel=2e-3)
    assert loss_of(new).item() <= truth.kl(new)
    losses = trained(new, loss_of)
    assert losses[-1] < 0.6 * losses[0]
    assert losses[-1] == pytest.approx(truth.kl(new, k=K), rel=0.2)


def decoded(row: dict[str, Any], config: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A row of DistillKit's form by its own description: bits of the ids, the highest first, and the exact values' bytes."""
    bits = np.unpackbits(np.array(row["bytepacked_indices"], np.uint8), axis=1)
    width = int(np.ceil(np.log2(np.float32(config["d"]))))
    ids = bits[:, : config["k"] * width].reshape(len(bits), config["k"], width) @ (1 << np.arange(width - 1, -1, -1))
    values = np.array(row["compressed_logprobs"], np.uint8).view(config["exact_dtype"])
    return torch.tensor(ids), torch.tensor(values.astype(np.float32))


def test_a_student_learns_from_distillkits_form(dataset: Path, truth: Truth) -> None:
    assert export(dataset, "distillkit") == 0
    folder = dataset.parent / "kd"
    config = yaml.safe_load((folder / "compression_config.yaml").read_text())
    run = yaml.safe_load((folder / "distillkit.yml").read_text())
    assert run["teacher"] == {"kind": "dataset", "logprob_compressor": config}
    assert run["sequence_length"] == max(map(len, truth.ids)) - 1
    assert (config["d"], config["exact_k"], config["delta_encoding"]) == (
        read_identity(str(TINY_TEACHER))["vocabulary"],
        K,
        False,
    )
    rows = list(datasets.load_dataset("parquet", data_files=str(folder / "train.parquet"), split="train"))
    for row, ids, logprobs in zip(rows, truth.ids, truth.logprobs, strict=True):
        places, values = decoded(row, config)
        assert row["input_ids"] == ids[:-1]
        assert row["labels"] == [-100] * (truth.start - 1) + ids[truth.start - 1 : -1]
        assert len(places) == len(values) == len(ids) - 1
        assert torch.isfinite(values).all()
        torch.testing.assert_close(values[truth.start - 1 :], logprobs.topk(K, dim=1).values, atol=5e-3, rtol=1e-3)
        assert places[truth.start - 1 :].tolist() == logprobs.topk(K, dim=1).indices.tolist()

    def loss_of(model: Any) -> Any:
        """DistillKit's `kl` with `symmetric_uniform`: the signal at a position is of the next token, where the label counts."""
        losses = []
        for row in rows:
            places, values = decoded(row, config)
            mine = torch.log_softmax(model(torch.tensor([row["input_ids"]])).logits[0], dim=-1).gather(1, places)
            tail, outside = 1 - values.exp().sum(1).clamp(1e-8, 1 - 1e-8), 1 - mine.exp().sum(1).clamp(1e-8, 1 - 1e-8)
            kl = (values.exp() * (values - mine)).sum(1) + tail * (tail / outside).log()
            losses.append(kl[torch.tensor(row["labels"]) >= 0])
        return torch.cat(losses).mean()

    assert abs(loss_of(truth.model).item()) < 2e-3
    new = student()
    assert loss_of(new).item() == pytest.approx(truth.kl(new, k=K), rel=5e-3)
    losses = trained(new, loss_of)
    assert losses[-1] < 0.6 * losses[0]


def test_a_student_with_another_tokenizer_is_refused(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenizers import Tokenizer

    other = tmp_path / "other"
    other.mkdir()
    tokenizer = Tokenizer.from_file(str(TINY_TEACHER / "tokenizer.json"))
    tokenizer.save(str(other / "tokenizer.json"), pretty=True)  # other bytes, the same vocabulary
    assert export(dataset, "distillkit", "--student", str(other)) == 0
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save(str(other / "tokenizer.json"))
    assert export(dataset, "trl-distillation", "--student", str(other)) == 2
    said = capsys.readouterr().err
    assert f"got {read_identity(str(other))['digest']}" in said
    assert f"wanted the tokenizer of the dataset's token ids, {read_identity(str(TINY_TEACHER))['digest']}" in said
    assert export(dataset, "trl-distillation", "--student", str(tmp_path / "none")) == 2
    assert "which has none" in capsys.readouterr().err


def test_a_dataset_without_token_ids_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(open_storage(str(tmp_path)), Output(path=str(tmp_path)), chunks=range(1), rows=4)
    for more in ([], ["--student", str(TINY_TEACHER)]):
        assert main(["export", str(tmp_path), "--format", "distillkit", *more]) == 2
        assert "wanted rows with top_k_logprobs" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_the_command_line_knows_every_format() -> None:
    assert [*formats.FORMATS, *TABLE_FORMATS] == FORMATS


@given(st.data())
def test_packed_ids_are_read_back(data: st.DataObject) -> None:
    vocabulary = data.draw(st.integers(2, 300_000))
    width = index_bits(vocabulary)
    assert width == max(1, int(np.ceil(np.log2(vocabulary))))
    rows = data.draw(st.lists(st.lists(st.integers(0, vocabulary - 1), min_size=5, max_size=5), min_size=1, max_size=4))
    packed = pack_bits(np.array(rows, np.uint32), width)
    bits = np.unpackbits(packed, axis=1)[:, : 5 * width].reshape(len(rows), 5, width)
    assert (bits @ (1 << np.arange(width - 1, -1, -1))).tolist() == rows


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=12), st.integers(0, 3), st.integers(1, 5))
def test_columns_have_the_values_of_the_packed_bytes(sizes: list[int | None], skipped: int, k: int) -> None:
    draw = np.random.default_rng(len(sizes))
    packed, wanted = [], []
    for size in sizes:
        if size is None:
            packed.append(None)
            wanted.append(None)
            continue
        ids, logprobs = draw.integers(0, 2**32, (size, k), dtype=np.uint32), -np.sort(draw.random((size, k)) * 9 + 3)
        top_k = pack_top_k([1, 2, 3], list(range(size)), ids, logprobs)
        packed.append({name: getattr(top_k, name) for name in TOP_K.names})
        tail = (1 - np.exp(logprobs).sum(1)).clip(0).astype(np.float16)
        parts = ([1, 2, 3], list(range(size)), ids.ravel(), logprobs.astype(np.float16).ravel(), tail)
        wanted.append(dict(zip(TOP_K_COLUMNS, [np.asarray(part).tolist() for part in parts], strict=True)))
    column = pa.chunked_array([pa.array(packed, TOP_K)]).slice(skipped)
    rows = pa.table(top_k_columns(column)).to_pylist()
    assert rows == [row or dict.fromkeys(TOP_K_COLUMNS) for row in wanted[skipped:]]
