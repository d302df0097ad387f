"""When two rows are duplicates, and which evaluation sets no row may quote."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from synth_ray.job.section import Section, key
from synth_ray.job.seeds import Source


class Semantic(Section):
    """Near-duplicates in other words, found by an embedding model. Beyond 65,536 rows, a new one is compared with kept ones that
    are in cells near it.
    """

    model: str = key(
        "",
        "Folder of an embedding model: static (model2vec, StaticEmbedding), or a transformer with mean pooling. Runs on the CPUs "
        "that stage rows.",
        changes="stage",
    )
    role: Literal["", "embedder", "judge"] = key(
        "",
        "Instead of `model`: the role whose engine or server embeds every answer as it comes; that model's task must be embed.",
        changes="nothing",
    )
    threshold: float = key(0.95, "Cosine similarity from which a row is a semantic duplicate.", gt=0, le=1, changes="admit")

    @model_validator(mode="after")
    def _one_model(self) -> Semantic:
        if bool(self.model) == bool(self.role):
            raise ValueError(
                f"wanted a `model` or a `role` that embeds, got {'both; keep one' if self.role else 'neither; name a folder'}"
            )
        return self


class Dedup(Section):
    """Exact and near-duplicates: MinHash bands find candidates, the exact Jaccard similarity of word n-grams decides."""

    near: bool = key(True, "Reject near-duplicates; off, only exact ones.", changes="admit")
    threshold: float = key(
        0.8, "Jaccard similarity of word n-grams from which a row is a near-duplicate.", gt=0, le=1, changes="admit"
    )
    compares: list[str] = key(
        list,
        "Columns compared: prompt, completion, reasoning (the thought), or a field. Left out, the recipe's choice.",
        changes="stage",
    )
    ngram: int | None = key(
        None,
        "Words in an n-gram; left out, 3 where half of the seeds have fewer than 100 words, else 5.",
        ge=1,
        le=13,
        changes="stage",
    )
    min_tokens: int = key(6, "A text of fewer words than this is a duplicate only of an identical one.", ge=0, changes="stage")
    permutations: int = key(128, "MinHash permutations.", multiple_of=64, ge=64, le=256, changes="stage")
    bands: int | None = key(
        None,
        "LSH bands; left out, datasketch's choice for threshold and permutations, or as many as rows_per_band leaves room for.",
        ge=1,
        le=256,
        changes="stage",
    )
    rows_per_band: int | None = key(
        None,
        "Permutations in a band; left out, datasketch's choice for the threshold, or as many as bands leaves room for.",
        ge=1,
        le=256,
        changes="stage",
    )
    seed: int = key(1, "Seed of the permutations.", ge=0, changes="stage")
    bucket_cap: int = key(
        8,
        "Most rows compared in one bucket; bounds the cost where a template puts many rows into one.",
        ge=1,
        le=64,
        changes="admit",
    )

    semantic: Semantic | None = key(None, "Reject rows that say the same in other words, too.", changes="admit")
    mask: list[str] = key(list, "Texts of a template that every row has; the comparison ignores them.", changes="stage")
    against: list[str] = key(
        list, "Output prefixes of earlier runs: a row that repeats one of theirs is rejected.", changes="admit"
    )
    seeds: bool | None = key(
        None, "Reject a row that repeats a seed; left out, the recipe's choice: `vary` and `fill` reject it.", changes="admit"
    )
    spill_bytes: int | None = key(
        None,
        "Memory for the newest keys of the index; older keys, the kept rows, their vectors and labels go to files on the local "
        "disk (TMPDIR), with the same decisions. Left out, all is in memory.",
        ge=1_000_000,
        changes="nothing",
    )
    keep_index: bool = key(
        True,
        "Store the index beside the dataset, one to three kilobytes per row, for `dedup.against` of a later run.",
        changes="nothing",
    )

    @model_validator(mode="after")
    def _bands_fit(self) -> Dedup:
        bands, rows = self.bands or 1, self.rows_per_band or 1
        if bands * rows > self.permutations:
            raise ValueError(f"wanted bands × rows_per_band of at most permutations ({self.permutations}), got {bands} × {rows}")
        return self


class EvalSet(Source):
    """One evaluation set that no row may quote."""

    name: str = key(
        ..., "The set's name, for counts and for the detail of rejected rows.", min_length=1, max_length=60, changes="admit"
    )


class Decontaminate(Section):
    """A row that quotes an evaluation set is rejected(contaminated). The evaluation rows themselves are never changed."""

    against: list[EvalSet] = key(list, "The evaluation sets.", changes="admit")
    ngram: int = key(13, "Words in an n-gram that may not be shared.", ge=5, le=50, changes="admit")
    coverage_ngram: int = key(8, "Words in the n-grams that coverage is measured with.", ge=3, le=13, changes="admit")
    coverage: float = key(
        0.5,
        "A row whose n-grams of that length cover this share of an evaluation text's words is rejected.",
        gt=0,
        le=1,
        changes="admit",
    )
