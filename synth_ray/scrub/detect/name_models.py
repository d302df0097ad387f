"""Loads the three kinds of name models from a local folder, without any download."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synth_ray.errors import MissingResource
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect.names import ENTITIES, OVERLAP, Mention, NameFinder, NameModel

_SPACY_CHARS = 20_000
_TOKEN_CHARS = 20_000
_GLINER_WORDS = 384


def open_names(section: Scrub) -> NameFinder:
    """Load the engine's model. Raises MissingResource, with what to do, if the model or the engine's package is missing."""
    if not section.model:
        raise MissingResource(f"scrub.model: wanted the local folder of a model for engine '{section.engine}', got none; name it")
    load = {"spacy": spacy_model, "gliner": gliner_model, "transformers": transformers_model}[section.engine]
    return NameFinder(load(section), labels=section.labels, wanted=section.entities_to_find(), batch_texts=section.batch_texts)


def spacy_model(section: Scrub) -> NameModel:
    """A spaCy pipeline, from a folder or an installed package. spaCy gives no probabilities, so each mention has score 0.85."""
    import spacy

    if not Path(section.model).is_dir() and not spacy.util.is_package(section.model):
        raise _missing_model(section, "a folder or an installed spaCy package")
    if _device(section).startswith("cuda"):
        spacy.prefer_gpu()
    with _loading(section):
        nlp = spacy.load(section.model)
    labels = frozenset(label for pipe in ("ner", "entity_ruler") for label in nlp.pipe_labels.get(pipe, ()))

    def read(texts: Sequence[str]) -> list[list[Mention]]:
        return [
            [Mention(e.label_, e.start_char, e.end_char, 0.85) for e in doc.ents]
            for doc in nlp.pipe(texts, batch_size=section.batch_texts)
        ]

    return NameModel(labels, _SPACY_CHARS, read)


def gliner_model(section: Scrub) -> NameModel:
    """A GLiNER model. It looks for the labels of the job, and for each other wanted entity by its name in lower case."""
    _refuse_no_folder(section)
    try:
        from gliner import GLiNER
    except ImportError:
        raise MissingResource(
            "scrub.engine: wanted the package gliner, got none; pip install gliner, or choose another engine"
        ) from None
    with _loading(section), _no_hub():
        model = GLiNER.from_pretrained(section.model, local_files_only=True, map_location=_device(section))
    named_labels = {label for label, entity in section.labels.items() if entity in section.entities_to_find()}
    covered_entities = {section.labels[label] for label in named_labels}
    labels = sorted(
        named_labels
        | {e.lower().replace("_", " ") for e in section.entities_to_find() if e in _BY_MODEL and e not in covered_entities}
    )

    def read(texts: Sequence[str]) -> list[list[Mention]]:
        entities = model.inference(
            list(texts), labels, flat_ner=True, threshold=section.threshold, batch_size=section.batch_texts
        )
        return [
            [Mention(e["label"], e["start"], e["end"], float(e["score"])) for e in entities_of_text]
            for entities_of_text in entities
        ]

    # GLiNER truncates a text silently after `max_len` words. A word has at least one character, so as many characters always fit.
    return NameModel(frozenset(labels), max(2 * OVERLAP, getattr(model.config, "max_len", _GLINER_WORDS)), read)


_BY_MODEL = frozenset(ENTITIES.values())


def transformers_model(section: Scrub) -> NameModel:
    """A token-classification model whose labels are plain (PER) or have BIO, BIOES or BILOU prefixes (B-PER, I-PER)."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    _refuse_no_folder(section)
    device = _device(section)
    with _loading(section):
        tokenizer = AutoTokenizer.from_pretrained(section.model, local_files_only=True, use_fast=True)
        model = AutoModelForTokenClassification.from_pretrained(section.model, local_files_only=True).to(device).eval()
    if not tokenizer.is_fast:
        raise MissingResource(
            f"scrub.model: {section.model}: wanted a fast tokenizer, which tells where tokens stand, got a slow one"
        )
    names = {int(i): label for i, label in model.config.id2label.items()}
    max_tokens = _max_tokens(tokenizer, model)

    def read(texts: Sequence[str]) -> list[list[Mention]]:
        encoded = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_tokens,
            stride=min(32, max_tokens // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
        )
        of_text = encoded.pop("overflow_to_sample_mapping").tolist()
        offsets = encoded.pop("offset_mapping").tolist()
        mentions: list[list[Mention]] = [[] for _ in texts]
        for first in range(0, len(of_text), section.batch_texts):
            rows = slice(first, first + section.batch_texts)
            with torch.inference_mode():
                logits = model(**{name: value[rows].to(device) for name, value in encoded.items()}).logits
            best = logits.float().softmax(-1).max(-1)
            for row, (scores, labels) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True), first):
                words = encoded.word_ids(row)
                mentions[of_text[row]] += mentions_of(words, offsets[row], [names[label] for label in labels], scores)
        return mentions

    return NameModel(
        frozenset(split_bio_label(label)[1] for label in names.values() if split_bio_label(label)[1]), _TOKEN_CHARS, read
    )


def split_bio_label(label: str) -> tuple[str, str]:
    """Split a label into its prefix and its name: "B-PER" is ("B", "PER"), a plain "PER" is ("I", "PER"), "O" is ("", "")."""
    if label == "O":
        return "", ""
    position, dash, name = label.partition("-")
    return (position, name) if dash and position in ("B", "I", "E", "S", "L", "U") else ("I", label)


def mentions_of(
    words: Sequence[int | None], offsets: Sequence[Sequence[int]], labels: Sequence[str], scores: Sequence[float]
) -> list[Mention]:
    """Mentions in one row of tokens. A word has the label of its first token; adjacent words of one label are one mention."""
    mentions: list[Mention] = []
    last_word, is_open = None, False
    for word, (start, end), label, score in zip(words, offsets, labels, scores, strict=True):
        if word is None or start == end:
            continue
        if word == last_word:
            if is_open:
                mentions[-1] = mentions[-1]._replace(end=end)
            continue
        position, name = split_bio_label(label)
        continues = is_open and mentions[-1].label == name and position not in ("B", "S", "U")
        if continues:
            mentions[-1] = mentions[-1]._replace(end=end, score=min(mentions[-1].score, score))
        elif name:
            mentions.append(Mention(name, start, end, score))
        last_word, is_open = word, bool(name)
    return mentions


def _max_tokens(tokenizer: Any, model: Any) -> int:
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    max_length = tokenizer.model_max_length if tokenizer.model_max_length < 1_000_000 else positions
    return int(min(max_length, positions, 512))


def _refuse_no_folder(section: Scrub) -> None:
    if not Path(section.model).is_dir():
        raise _missing_model(section, "a local folder")


def _missing_model(section: Scrub, wanted: str) -> MissingResource:
    return MissingResource(
        f"scrub.model: wanted {wanted}, got '{section.model}', which is none; download the model first and name its folder"
    )


@contextlib.contextmanager
def _loading(section: Scrub) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise MissingResource(
            f"scrub.model: wanted a model that engine '{section.engine}' loads, got {type(error).__name__} from "
            f"'{section.model}'; check that the folder is complete and made for this engine"
        ) from error


@contextlib.contextmanager
def _no_hub() -> Iterator[None]:
    """GLiNER downloads a backbone that its folder lacks even with `local_files_only`: this keeps the hub offline meanwhile."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _device(section: Scrub) -> str:
    if section.device:
        return section.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
