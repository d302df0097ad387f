"""The card as its readers take it: the Hub's own classes, and a Markdown reader that no text of a row may fool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from synth_ray.dataset.card import write_card
from synth_ray.dataset.card.examples import example_lines
from synth_ray.dataset.card.licence import licence_keys, licence_url
from synth_ray.dataset.card.markdown import block, literal, table, without_folders
from synth_ray.dataset.examples import PATH as EXAMPLES
from synth_ray.dataset.manifest import Manifest
from synth_ray.errors import StorageError
from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_storage
from tests.published import make_dataset

RESOURCES = Path(datasets.__file__).parent / "utils" / "resources"
READER = MarkdownIt("commonmark", {"html": True}).enable("table")
NASTY = "```\n<script>alert(1)</script> | a | b |\n---\n# no heading\n````text\n[x](javascript:y) *z* \0 end"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from([NASTY, "_a_b_", "C# ##", "&lt;", "\\|"])


def row(**more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "How do I pay?"}, {"role": "assistant", "content": NASTY}]
    return {"id": "ab12", "split": "train", "class": "pay|ment", "origin": "synthetic", "messages": turns, "fields": {}} | more


EXAMPLE_FILE = {
    "accepted": [row(), row(fields={"tone": "<b>kind</b>", "empty": None})],
    "rejected": {
        "near_duplicate": [
            row(reason="near_duplicate", similarity=0.875, witness=row(messages=[{"role": "user", "content": "Hi."}]))
        ],
        "refusal": [row(reason="refusal", detail="I | cannot", witness=None)],
    },
    "edges": [{"measure": "similarity", "value": 0.79, "limit": 0.8, "row": row(), "beside": row()}],
}
MEASURED: dict[str, Any] = {
    "license": "LicenseRef-House 1.0 https://example.org/licence",
    "recipe": "prefer",
    "narrowing": {
        "vendi": {"value": 0.71, "low": 0.68, "high": 0.74, "warn": 0.9, "fail": 0.8, "verdict": "fail", "meaning": "diversity"}
    },
    "reference": {"source": "seeds", "rows": 40, "generated": 24, "vectors": "tfidf"},
    "tstr": {"macro_f1": 0.7, "low": 0.6, "high": 0.8, "real": {"macro_f1": 0.8}, "classes": [], "curve": []},
    "perplexity": {"real_by_synthetic": {"value": 120.5, "low": 101.0, "high": 140.0}, "ratio": 1.5},
    "label_noise": {"rows": 24, "suspects": 3, "share": 0.125, "first": []},
    "teacher_errors": {
        "verifier": {
            "not_true": {"rows": 100, "wrong": 2, "rate": 0.02, "low": 0.0055, "high": 0.07},
            "echo": {"rows": 100, "wrong": 0, "rate": 0.0, "low": 0.0, "high": 0.04},
        }
    },
    "judge": {"criteria": ["a|b"], "judged": 9, "min_score": 4.0, "advisory": True, "gold": 3, "observed": 0.5, "kappa": None},
    "templates": {"template": NASTY},
    "sampling": {"temperature": 0.8, "stop": ["|"]},
    "filters": {"check": {"drop": ["wrong_language"], "language": ["no", "en"]}, "dedup": {"near": True, "threshold": 0.8}},
    "sources": [{"path": "/home/someone/private/seeds.jsonl", "license": ""}],
    "leaks": 2,
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "out"))


def published(store: Storage, *, examples: bool = False, **more: Any) -> tuple[Manifest, str]:
    manifest = make_dataset(store, Output(path="unused")).model_copy(update=more)
    if examples:
        write_example_file(store, manifest)
    write_card(store, manifest)
    return manifest, store.read("README.md").decode()


def write_example_file(store: Storage, manifest: Manifest, **other: str) -> None:
    version = {"dataset_digest": manifest.dataset_digest, "job_digest": manifest.job_digest} | other
    store.write(EXAMPLES, json.dumps(EXAMPLE_FILE | version).encode())


def test_the_header_is_metadata_of_the_hub(store: Storage) -> None:
    manifest, text = published(store, examples=True, **MEASURED)
    head = DatasetCard(text).data
    assert head.pretty_name == manifest.name
    assert (head.license, head.license_name) == ("other", "licenseref-house-1.0")
    assert head.get("license_link") == "https://example.org/licence"
    assert head.language == ["no", "en"]  # which YAML would read as false
    assert set(head.language) <= set(json.loads((RESOURCES / "languages.json").read_text()))
    assert head.task_categories == ["text-generation"]
    assert head.size_categories == ["n<1K"]
    assert head.size_categories[0] in json.loads((RESOURCES / "size_categories.json").read_text())
    assert {"synthetic", "preference"} <= set(head.tags)
    infos = DatasetInfosDict.from_dataset_card_data(head)
    assert {name: split.num_examples for name, split in infos["default"].splits.items()} == manifest.splits
    assert list(infos["default"].features) == list(manifest.columns)


def test_an_unmeasured_card_claims_no_language_and_no_licence(store: Storage) -> None:
    head = DatasetCard(published(store)[1]).data
    assert (head.license, head.language) == (None, None)
    assert "## Quality" not in str(DatasetCard(published(store)[1]))


def test_a_card_says_what_was_measured_and_what_limits_follow(store: Storage) -> None:
    _, text = published(store, **MEASURED)
    for words in (
        "| vendi | 0.71 | 0.68 to 0.74 | warn at 0.9, fail at 0.8 | fail | diversity |",
        "| macro F1, trained on the synthetic rows | 0.7 | 0.6 to 0.8 |",
        "| suspected wrong labels | 12.5% |",
        "by a word model of the synthetic rows | 120 | 101 to 140 |",
        "| not true | 100 | 2 | 2.0% | 0.0055 to 0.07 |",
        "the seeds, for the job gave no real rows to compare with (40 rows, beside 24 synthetic ones)",
        "- The rows are narrower than the real ones, beyond the limit that fails, by: vendi.",
        "- The judge was not reliable enough to reject rows",
        "- 2 rows leak from one split to another",
        "- The licence and terms of the teacher were not given",
        "| sampling: temperature | 0.8 |",
        "| seeds 1 | seeds.jsonl |",
    ):
        assert words in text
    assert "/home/someone" not in text


def test_no_text_of_an_example_or_a_template_becomes_markdown(store: Storage) -> None:
    _, text = published(store, examples=True, **MEASURED)
    tokens = READER.parse(text.split("---\n", 2)[2])
    assert not [t for t in tokens if t.type == "html_block"]
    inline = [child.type for t in tokens for child in t.children or []]
    assert "html_inline" not in inline and "link_open" not in inline
    fences = [t.content for t in tokens if t.type == "fence"]
    shown = NASTY.replace("\0", "\ufffd")
    assert sum(shown in fence for fence in fences) == 4  # two accepted, one rejected, one template
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[:5] == [
        "a small dataset",
        "Examples",
        "Rejected, by reason",
        "At the edge of a threshold",
        "From requests to rows",
    ]


def test_examples_of_another_version_are_left_out_and_broken_ones_told(store: Storage) -> None:
    manifest, _ = published(store)
    write_example_file(store, manifest, dataset_digest="of another version")
    write_card(store, manifest)
    assert b"## Examples" not in store.read("README.md")
    store.write(EXAMPLES, b"{")
    with pytest.raises(StorageError, match=r"examples\.json: wanted a JSON object"):
        write_card(store, manifest)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "fields", "role", "content", "row", "beside", "witness", "value"]) | TEXT, inner
        )
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"accepted": JSON, "rejected": JSON, "edges": JSON}))
def test_examples_of_any_shape_make_no_card_fail(examples: dict[str, Any]) -> None:
    "\n".join(example_lines(examples)).encode("utf-8", "replace")


def difference_of(*texts: list[str]) -> list[str]:
    shown, beside = (row(messages=[{"role": "user", "content": "\n".join(lines)}]) for lines in texts)
    lines = example_lines({"rejected": {"near_duplicate": [shown | {"witness": beside}]}})
    return lines[lines.index("```diff") + 1].split("\n")


WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


@given(WORDS, WORDS, st.sampled_from([0, 198, 300]))
def test_two_rows_are_one_difference_that_holds_both(mine: list[str], theirs: list[str], before: int) -> None:
    texts = [[str(n) for n in range(before)] + own for own in (mine, theirs)]
    marked = difference_of(*texts)
    for mark, text in zip("-+", texts, strict=True):
        assert [line[2:] for line in marked if line[0] in f" {mark}"] == [f"user: {text[0]}", *text[1:]]


def test_what_follows_in_long_rows_is_compared_as_a_whole() -> None:
    marked = difference_of(["same"] * 250 + ["one"], ["same"] * 250 + ["other"])
    assert [sum(line[0] == mark for line in marked) for mark in " -+"] == [200, 51, 51]


@given(TEXT, TEXT)
def test_a_literal_is_read_back_character_by_character(text: str, other: str) -> None:
    lines = "\n".join(table(("a", "b"), [(f"x{text}x", f"x{other}x")]))
    cells = [t for t in READER.parse(lines) if t.type == "inline"][2:]
    assert len(cells) == 2
    for cell, wanted in zip(cells, (text, other), strict=True):
        parts = cell.children or []
        assert {part.type for part in parts} <= {"text", "text_special"}
        read = "".join(part.content for part in parts)
        assert read.split() == "".join(" " if not c.isprintable() and c < "\xa0" else c for c in f"x{wanted}x").split()


@given(TEXT)
def test_a_block_is_one_fence_whatever_is_in_it(text: str) -> None:
    [fence, after] = [t for t in READER.parse("\n".join([*block(text), "", "after"])) if t.type in ("fence", "inline")]
    assert after.content == "after"
    assert fence.content == text.replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n") + "\n"


def test_licences_have_the_hubs_ids_or_are_other() -> None:
    known = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "GPL-3.0-or-later": "gpl-3.0", "ODC-By-1.0": "odc-by"}
    assert {text: licence_keys(text)["license"] for text in known} == known
    assert licence_keys("") == {}
    assert licence_keys("Our own terms") == {"license": "other", "license_name": "our-own-terms"}
    assert licence_url("CC-BY-4.0") == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert licence_url("Our own terms") == "Our own terms"


def test_folders_of_one_machine_are_left_out_of_names() -> None:
    assert without_folders("/models/a/tiny (50%), Qwen/Qwen3-8B (50%)") == "tiny (50%), Qwen/Qwen3-8B (50%)"
    assert (
        without_folders("s3://bucket/a/b, hf://datasets/x/y, https://x.org/a")
        == "s3://bucket/a/b, hf://datasets/x/y, https://x.org/a"
    )
    assert literal(1234567) == "1,234,567"
