from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH

from synth_ray.dedup import snapshot
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.datasketch_parameters import WEIGHTS, Banding, banding_of, permutations, recall, resolve_banding
from synth_ray.dedup.fingerprint import COLUMN_BREAK, Fingerprinter
from synth_ray.job.dedup import Dedup
from tests.rows import staged_chunk

MIXED = [
    "",
    " ",
    "one",
    "The quick brown fox jumps over the lazy dog, twice; and “once” more – for luck.",
    "e\u0301te\u0301 CAFÉ straße İstanbul ẞ ﬁne Ｗｉｄｅ",
    "中文字符没有空格 日本語テキスト ภาษาไทย ភាសាខ្មែរ 한국어 각",
    "👩‍👩‍👧 party 🎉🎉 time \ufe0f \u200bzero\u00adwidth",
    "\x00 control \x1f field \x7f characters\tand\nlines",
    "русский ТЕКСТ ελληνικό ΚΕΊΜΕΝΟ ς عربى עברית हिन्दी",
]


def mixed_texts(seed: int, n: int) -> list[str]:
    draw = random.Random(seed)
    pools = ["abc XYZ 012 .,'-_", "éü\u0301\u0323ßſ", "漢字かなカナ", "กขค", "😀🎉\u200d\ufe0f", "“”‘’–—…\u2028\u00a0"]
    return ["".join(draw.choice(draw.choice(pools)) for _ in range(draw.randrange(120))) for _ in range(n)]


@pytest.mark.parametrize("permutations", [128, 256])
def test_signatures_are_datasketchs_bit_for_bit(permutations: int) -> None:
    prints = Fingerprinter(Dedup(ngram=3, permutations=permutations))
    texts = pa.array([t for t in MIXED + mixed_texts(1, 60) if len(t) > 20])
    found, signatures = prints(texts), prints.signatures(texts)
    for row, signature in enumerate(signatures):
        theirs = MinHash(num_perm=permutations, seed=1, scheme="affine32", hashfunc=int)
        for shingle in found.shingles[found.offsets[row] : found.offsets[row + 1]].tolist():
            theirs.update(shingle)
        assert np.array_equal(signature, theirs.hashvalues)


@pytest.mark.parametrize("count", [64, 128, 256])
def test_permutations_are_datasketchs_own_and_those_that_stored_fingerprints_were_made_with(count: int) -> None:
    ours = np.array(permutations(count, 1))
    moved = (
        "datasketch no longer tells its permutations, or draws others than 2.0: stored fingerprints and indexes were made "
        "with the ones below. Keep datasketch where it was, or raise normalise.VERSION, so that old indexes are refused"
    )
    assert np.array_equal(ours, getattr(MinHash(num_perm=count, seed=1, scheme="affine32"), "permutations", None)), moved
    first = {
        64: (3582191691, 1474497421, 4114104213, 2321861504),
        128: (3582191691, 348755713, 214548472, 1195370327),
        256: (3582191691, 2390740655, 533320336, 899765072),
    }[count]
    assert tuple(ours[:, [0, -1]].reshape(-1).tolist()) == first, moved


@pytest.mark.parametrize("count", [64, 128, 256])
@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95])
def test_the_banding_is_datasketchs_choice_and_finds_nearly_every_pair_at_the_threshold(threshold: float, count: int) -> None:
    theirs = MinHashLSH(threshold=threshold, num_perm=count, weights=WEIGHTS)
    ours = banding_of(Dedup(threshold=threshold, permutations=count))
    assert ours == (theirs.b, theirs.r), "datasketch no longer tells the banding that it chose as MinHashLSH.b and .r"
    assert recall(ours, threshold) >= 0.99


def test_the_default_job_has_21_bands_of_6_and_a_threshold_of_1_has_a_banding_too() -> None:
    assert banding_of(Dedup()) == (21, 6)
    assert recall(banding_of(Dedup(threshold=1.0)), 1.0) == 1.0


def test_a_jobs_own_banding_wins_and_half_of_one_is_filled_from_the_permutations() -> None:
    cases = [({"bands": 16, "rows_per_band": 4}, (16, 4)), ({"bands": 25}, (25, 5)), ({"rows_per_band": 8}, (16, 8))]
    assert [banding_of(Dedup(**given)) for given, _ in cases] == [wanted for _, wanted in cases]
    with pytest.raises(ValueError, match=r"wanted bands × rows_per_band of at most permutations \(64\), got 1 × 65"):
        Dedup(permutations=64, rows_per_band=65)


def test_a_section_without_a_banding_makes_the_fingerprints_and_the_header_of_its_resolved_one() -> None:
    section = Dedup(ngram=3, threshold=0.7)
    resolved = resolve_banding(section)
    texts = pa.array(MIXED)
    assert (resolved.bands, resolved.rows_per_band) == Banding(27, 4)
    assert np.array_equal(Fingerprinter(section)(texts).bands, Fingerprinter(resolved)(texts).bands)
    header = snapshot.header_of(section, ("prompt",), ())
    assert header == snapshot.header_of(resolved, ("prompt",), ())
    assert (header["bands"], header["rows_per_band"]) == (27, 4)


@pytest.mark.parametrize("ngram", [1, 3, 5])
def test_without_a_compiler_the_values_are_the_same_bit_for_bit(ngram: int) -> None:
    section = Dedup(ngram=ngram, min_tokens=2)
    texts = pa.array([*MIXED, *mixed_texts(ngram, 400)])
    compiled, vectors = Fingerprinter(section)(texts), Fingerprinter(section, compiled=False)(texts)
    for name in ("digests", "bands", "shingles", "offsets"):
        assert np.array_equal(getattr(compiled, name), getattr(vectors, name)), name


def test_a_text_of_ten_megabytes_is_read_like_any_other() -> None:
    draw = random.Random(2)
    text = " ".join(f"word{draw.randrange(10**6)}" for _ in range(900_000))
    section = Dedup(ngram=5)
    one, other = Fingerprinter(section)(pa.array([text, "x"])), Fingerprinter(section, compiled=False)(pa.array([text, "x"]))
    assert len(text) > 9_000_000
    assert np.array_equal(one.shingles, other.shingles)
    assert np.array_equal(one.digests, other.digests)


def test_what_is_said_keeps_prompt_and_completion_apart() -> None:
    words, ends = Fingerprinter(Dedup()).word_hashes(pa.array(["one two", ""]), pa.array(["three", "four"]))
    assert ends.tolist() == [0, 4, 6]
    assert [int(w == COLUMN_BREAK) for w in words] == [0, 0, 1, 0, 1, 0]


def test_a_thought_is_compared_only_where_it_is_named() -> None:
    table = staged_chunk(0, 2, reasoning="first I think")
    plain = staged_chunk(0, 2)
    assert compared_text(table, ["prompt", "completion"]).equals(compared_text(plain, ["prompt", "completion"]))
    assert compared_text(table, ["reasoning"]).to_pylist() == ["first I think"] * 2
    in_fields = staged_chunk(0, 2, fields='{"reasoning":"of the seed"}')
    assert compared_text(in_fields, ["reasoning"]).to_pylist() == ["of the seed"] * 2
    assert compared_text(plain, ["reasoning"]).to_pylist() == [""] * 2


def test_a_template_constant_is_masked_and_fields_are_compared_by_name() -> None:
    table = staged_chunk(0, 2)
    masked = compared_text(table, ["prompt", "label"], mask=["question "]).to_pylist()
    assert masked == [" 0\x1fa", " 1\x1fb"]
