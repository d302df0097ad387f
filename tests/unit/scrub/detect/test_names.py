"""NER engines with tiny models trained here, and the errors without a usable model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from synth_ray.errors import JobError, MissingResource
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect.name_models import Mention, mentions_of, open_names, split_bio_label
from synth_ray.scrub.detect.names import OVERLAP, NameFinder, NameModel, windows
from synth_ray.scrub.scrubber import open_scrubber

NAMES = ["PERSON", "LOCATION"]


@pytest.fixture(scope="module")
def spacy_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    import spacy

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "John Smith"}, {"label": "GPE", "pattern": "Paris"}])
    folder = str(tmp_path_factory.mktemp("spacy") / "model")
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model, trained here on four sentences until it knows them by heart."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    labelled = [
        ("My name is John Smith .", "O O O B-PER I-PER O"),
        ("She lives in Paris , France .", "O O O B-LOC O B-LOC O"),
        ("John Smith lives in Paris .", "B-PER I-PER O O B-LOC O"),
        ("My mail is in France , she lives .", "O O O O B-LOC O O O O"),
    ]
    words = sorted({w for text, _ in labelled for w in text.split()})
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64)
    labels = ["O", "B-PER", "I-PER", "B-LOC"]
    torch.manual_seed(5)
    model = BertForTokenClassification(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=64, hidden_dropout_prob=0.0, id2label=dict(enumerate(labels)),
        )
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        for text, wanted in labelled:
            batch = fast([text], return_tensors="pt")
            loss = model(**batch, labels=torch.tensor([[labels.index(w) for w in wanted.split()]])).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    folder = str(tmp_path_factory.mktemp("transformers") / "model")
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def test_findings_of_a_spacy_model_and_of_the_patterns_are_merged(spacy_folder: str) -> None:
    scrubber = open_scrubber(Scrub(engine="spacy", model=spacy_folder))
    record = scrubber.record({"note": "John Smith of Paris: jane@mail.com", "other": "ask John Smith"})
    assert record.value == {"note": "<PERSON_1> of <LOCATION_1>: <EMAIL_1>", "other": "ask <PERSON_1>"}
    assert record.counts == {"EMAIL_ADDRESS": 1, "LOCATION": 1, "PERSON": 2}


@pytest.mark.slow
def test_a_transformers_model_reads_every_part_of_a_long_text(transformers_folder: str) -> None:
    scrubber = open_scrubber(Scrub(engine="transformers", model=transformers_folder, batch_texts=3))
    value = scrubber.record("My name is John Smith . " * 40).value
    assert value == "My name is <PERSON_1> . " * 40


def test_each_text_of_a_batch_has_its_own_findings(transformers_folder: str) -> None:
    finder = open_names(Scrub(engine="transformers", model=transformers_folder))
    findings = finder.find(["She lives in Paris , France .", "", "John Smith lives in Paris ."], deadline=1e18)
    assert [[(f.entity, f.start, f.end) for f in text_findings] for text_findings in findings] == [
        [("LOCATION", 13, 18), ("LOCATION", 21, 27)],
        [],
        [("PERSON", 0, 10), ("LOCATION", 20, 25)],
    ]


def test_a_model_without_the_wanted_entities_is_refused(tmp_path: Path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(JobError, match="LOCATION, PERSON"):
        open_scrubber(Scrub(engine="spacy", model=str(tmp_path / "blank")))


def test_a_model_that_finds_nothing_fails_the_self_test(tmp_path: Path) -> None:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "X"}, {"label": "GPE", "pattern": "Y"}])
    nlp.to_disk(tmp_path / "blind")
    with pytest.raises(MissingResource, match="none of LOCATION, PERSON"):
        open_scrubber(Scrub(engine="spacy", model=str(tmp_path / "blind")))


@pytest.mark.parametrize("engine", ["spacy", "transformers", "gliner"])
@pytest.mark.parametrize("model", ["", "en_core_web_lg", "/nowhere/at/all"])
def test_an_absent_model_stops_the_job(engine: str, model: str) -> None:
    with pytest.raises(MissingResource, match=r"scrub\.model: wanted"):
        open_scrubber(Scrub(engine=engine, model=model))  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("gliner") is not None, reason="gliner is installed")
def test_an_absent_package_stops_the_job(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="wanted the package gliner"):
        open_scrubber(Scrub(engine="gliner", model=str(tmp_path)))


@pytest.mark.parametrize("engine", ["spacy", "transformers"])
def test_a_broken_model_stops_the_job(tmp_path: Path, engine: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingResource, match="wanted a model that engine"):
        open_scrubber(Scrub(engine=engine, model=str(tmp_path)))  # type: ignore[arg-type]


def test_an_error_of_a_model_is_raised_and_not_an_empty_result(placeholders: object) -> None:
    def broken(texts: object) -> list[list[Mention]]:
        raise RuntimeError("out of memory")

    finder = NameFinder(NameModel(frozenset({"PER"}), 100, broken), labels={}, wanted=NAMES, batch_texts=2)
    with pytest.raises(RuntimeError):
        finder.find(["x"], deadline=1e18)


def test_windows_cover_a_text_and_overlap() -> None:
    text = "word " * 1000 + "x" * 3000
    pieces = list(windows(text, 1000))
    assert all(text[start : start + len(piece)] == piece and len(piece) <= 1000 for start, piece in pieces)
    ends = [start + len(piece) for start, piece in pieces]
    assert all(start == end - OVERLAP for (start, _), end in zip(pieces[1:], ends, strict=False))
    assert ends[-1] == len(text)


def test_bioes_labels_and_labels_without_a_prefix_make_whole_mentions() -> None:
    assert [split_bio_label(label) for label in ("O", "B-PER", "E-PER", "S-LOC", "private_name", "X-1")] == [
        ("", ""), ("B", "PER"), ("E", "PER"), ("S", "LOC"), ("I", "private_name"), ("I", "X-1"),
    ]  # fmt: skip
    words, offsets = [None, 0, 0, 1, 2, 3, None], [(0, 0), (0, 2), (2, 4), (5, 8), (9, 11), (12, 15), (0, 0)]
    labels = ["O", "B-PER", "O", "E-PER", "O", "S-LOC", "O"]
    assert mentions_of(words, offsets, labels, [0.9] * 7) == [Mention("PER", 0, 8, 0.9), Mention("LOC", 12, 15, 0.9)]
