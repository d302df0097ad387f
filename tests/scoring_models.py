"""Tiny models that score, made here with the bundled tokenizer, and what their own library says of a text: the truth of tests."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import TINY_TEACHER

LABELS = ("poor", "fair", "good")
LENGTH = 128


def _folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY_TEACHER / name, folder / name)
    return folder


def classifier(folder: Path, labels: Sequence[str]) -> Path:
    """A Llama with a random head for `labels`; with one label, a reward model."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(17)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        pad_token_id=0,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
    )
    model = LlamaForSequenceClassification(config).eval()
    torch.nn.init.normal_(model.score.weight, std=1.0)
    model.save_pretrained(str(_folder(folder)))
    return folder


def embedder(folder: Path, *, says_how: bool = True) -> Path:
    """A BERT whose folder says, as sentence-transformers do, that the mean of its states is the embedding."""
    import json

    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(17)
    config = BertConfig(
        vocab_size=2048,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=LENGTH,
        pad_token_id=0,
    )
    BertModel(config).eval().save_pretrained(str(_folder(folder)))
    if says_how:
        kind = "sentence_transformers.models."
        modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        listed = [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (name, path) in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 128, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def true_logits(folder: Path, turns: list[dict[str, str]]) -> list[float]:
    """What transformers computes for the conversation in the model's own template, with nothing after the answer; of one that is
    too long, for its last tokens.
    """
    import torch
    from transformers import LlamaForSequenceClassification

    tokenizer = tokenizer_of(folder)
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    ids = tokenizer.encode(text, add_special_tokens=False)[-LENGTH:]
    model = LlamaForSequenceClassification.from_pretrained(str(folder), dtype=torch.float32).eval()
    model.config.pad_token_id = None  # the template's last token is the padding's, and it is what is read
    with torch.inference_mode():
        logits: list[float] = model(torch.tensor([ids])).logits[0].tolist()
    return logits


def true_vector(folder: Path, text: str | list[int]) -> list[float]:
    """The mean of the states over a text's tokens, at unit length."""
    import torch
    from transformers import BertModel

    ids = tokenizer_of(folder).encode(text) if isinstance(text, str) else text
    with torch.inference_mode():
        states = BertModel.from_pretrained(str(folder), dtype=torch.float32).eval()(torch.tensor([ids])).last_hidden_state
    mean = states[0].mean(0)
    vector: list[float] = (mean / mean.norm()).tolist()
    return vector
