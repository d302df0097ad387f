"""Near-duplicates in other words, with models made here: a static table of vectors and a tiny transformer."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from synth_ray.admit.admission import Admission
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.embedding import embedding_column, open_embedder, to_int8, vectors_in
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.errors import MissingResource
from synth_ray.job.dedup import Dedup, Semantic
from synth_ray.records import STAGED, digest
from tests.rows import staged_row

SYNONYMS = [
    ("car", "automobile"),
    ("buy", "purchase"),
    ("quick", "fast"),
    ("start", "begin"),
    ("help", "assist"),
    ("big", "large"),
]
OTHERS = ["river", "stone", "music", "paper", "winter", "garden", "engine", "doctor", "window", "market"]
DIMENSIONS = 32


def words_model(folder: Path) -> Path:
    """A table in which the words of a pair have nearly the same vector."""
    draw = np.random.default_rng(1)
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *(w for pair in SYNONYMS for w in pair), *OTHERS])}
    table = draw.normal(size=(len(vocabulary), DIMENSIONS)).astype(np.float32)
    for one, other in SYNONYMS:
        table[vocabulary[other]] = table[vocabulary[one]] + 0.01
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": table}, str(folder / "model.safetensors"))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return words_model(tmp_path_factory.mktemp("static"))


def staged(model: Path, texts: list[tuple[str, str]]) -> pa.Table:
    rows = [staged_row(i, split=s, prompt="", completion=t, id=digest(i, t)) for i, (s, t) in enumerate(texts)]
    table = pa.Table.from_pylist(rows, schema=STAGED)
    text = compared_text(table, ["completion"])
    table = Fingerprinter(Dedup(ngram=3)).fingerprint_rows(table, text)
    column = embedding_column(open_embedder(str(model)), text)
    return table.set_column(table.schema.get_field_index("embedding"), "embedding", column)


def admission(threshold: float = 0.98) -> Admission:
    section = Dedup(ngram=3, semantic=Semantic(model="unused", threshold=threshold))
    return Admission(dedup=section, real=STAGED.empty_table())


def test_the_same_in_other_words_is_rejected_with_its_witness_and_across_splits_by_that_name(model: Path) -> None:
    texts = [
        ("train", "buy a quick car"),
        ("train", "purchase a fast automobile"),
        ("test", "purchase a quick automobile"),
        ("test", "river stone music paper"),
        ("train", ""),
    ]
    table = staged(model, texts)
    verdicts = admission().decide(table).to_pylist()
    assert [v["reason"] for v in verdicts] == [None, "semantic_duplicate", "cross_split", None, None]
    assert verdicts[1]["witness"] == verdicts[2]["witness"] == table["id"][0].as_py()
    assert 0.98 <= verdicts[1]["similarity"] < 1


@given(seed=st.integers(0, 2**32), cut=st.integers(1, 40), threshold=st.sampled_from([0.7, 0.9, 0.99]))
def test_verdicts_are_the_same_in_any_batches_and_those_of_the_plain_definition(
    model: Path, seed: int, cut: int, threshold: float
) -> None:
    draw = random.Random(seed)
    words = [*OTHERS, *(w for pair in SYNONYMS for w in pair)]
    table = staged(model, [("train", " ".join(draw.choices(words, k=5))) for _ in range(40)])
    verdicts = admission(threshold).decide(table).to_pylist()
    parts = admission(threshold)
    assert [v for at in range(0, 40, cut) for v in parts.decide(table.slice(at, cut)).to_pylist()] == verdicts
    whole = [v["reason"] for v in verdicts]
    vectors = vectors_in(table["embedding"]).astype(float)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    for i, reason in enumerate(whole):
        if reason != "exact_duplicate":
            near = max((float(units[i] @ units[k]) for k in kept), default=0.0)
            if abs(near - threshold) > 1e-9:
                assert (reason is None) == (near < threshold)
        if reason is None:
            kept.append(i)


def test_a_transformer_of_a_folder_gives_each_text_its_vector_whatever_stands_beside_it(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="[UNK]")
    tokenizer.save_pretrained(str(tmp_path))
    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(str(tmp_path))
    embedder = open_embedder(str(tmp_path))
    together = embedder.vectors(["car river", "stone music paper winter garden"])
    assert together.shape == (2, 32)
    assert np.allclose(together[0], embedder.vectors(["car river"])[0], atol=1e-5)


def test_a_model_that_is_not_there_or_does_not_load_is_an_error_first(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="wanted a folder with an embedding model"):
        open_embedder(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(MissingResource, match="wanted a model that loads"):
        open_embedder(str(tmp_path))


def near_vectors(seed: int, rows: int) -> np.ndarray:
    """Families of vectors: members of one are near each other, some families lie near others, some rows have no vector."""
    draw = np.random.default_rng(seed)
    families = draw.normal(size=(30, DIMENSIONS))
    vectors = to_int8(families[draw.integers(0, 30, rows)] + draw.normal(scale=0.3, size=(rows, DIMENSIONS)))
    vectors[draw.integers(0, rows, rows // 20)] = 0
    vectors[100:130] = 0
    return vectors


def kept_rows(index: SemanticIndex, vectors: np.ndarray, cuts: list[int]) -> list[tuple[int, float]]:
    """By row: the kept row it repeats, or -1 where it is kept, and their similarity."""
    verdicts: list[tuple[int, float]] = []
    for end in sorted({len(vectors), *cuts} - {0}):
        keep_next(index, vectors, end, verdicts)
    return verdicts


def keep_next(index: SemanticIndex, vectors: np.ndarray, end: int, verdicts: list[tuple[int, float]]) -> None:
    """Decide the rows up to `end` of which there is no verdict."""
    at = len(verdicts)
    batch = vectors[at:end]
    blockers = index.blockers(batch if batch.any() else batch[:, :0])
    for row in range(end - at):
        run = range(blockers.ends[row], blockers.ends[row + 1])
        by = [b if b >= 0 else at - 1 - b for b in blockers.blocker[run.start : run.stop].tolist()]
        found = next(((b, float(blockers.similarity[k])) for k, b in zip(run, by, strict=True) if verdicts[b][0] < 0), None)
        verdicts.append(found or (-1, 0.0))
    kept = [row for row in range(at, end) if verdicts[row][0] < 0]
    index.keep(vectors[kept], np.array(kept))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 1200) | st.integers(98, 132), max_size=12),
    exact_rows=st.sampled_from([16, 64, 256]),
    threshold=st.sampled_from([0.6, 0.85]),
)
def test_beyond_the_exact_rows_verdicts_are_still_the_same_in_any_batches_and_never_wrong(
    seed: int, cuts: list[int], exact_rows: int, threshold: float
) -> None:
    vectors = near_vectors(seed, 1200)
    verdicts = kept_rows(SemanticIndex(threshold, exact_rows=exact_rows, probes=3), vectors, [])
    assert kept_rows(SemanticIndex(threshold, exact_rows=exact_rows, probes=3), vectors, cuts) == verdicts
    for row, (kept, similarity) in enumerate(verdicts):
        if kept >= 0:  # a row repeats an earlier kept one, and is as near as is said
            one, other = vectors[row].astype(float), vectors[kept].astype(float)
            assert kept < row
            assert threshold <= similarity == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_cells_find_nearly_all_that_comparing_with_every_row_finds() -> None:
    vectors = near_vectors(7, 6000)
    exact = kept_rows(SemanticIndex(0.85), vectors, list(range(0, 6000, 500)))
    cells = kept_rows(SemanticIndex(0.85, exact_rows=256), vectors, list(range(0, 6000, 500)))
    repeated = [row for row, (kept, _) in enumerate(exact) if kept >= 0]
    assert len(repeated) > 1000
    assert sum(cells[row][0] >= 0 for row in repeated) >= 0.98 * len(repeated)


def test_cells_are_made_of_vectors_only_where_hardly_any_row_has_one() -> None:
    index, vectors = SemanticIndex(0.9, exact_rows=16), np.zeros((80, 8), np.int8)
    vectors[[2, 66]] = 100  # in the sample of the first cells, and not in that of the next ones
    assert [row for row, (kept, _) in enumerate(kept_rows(index, vectors, [16, 64])) if kept >= 0] == [66]
