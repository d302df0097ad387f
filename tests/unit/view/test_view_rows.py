"""Rows that are viewed: the same as a plain filter finds, each on exactly one page, whatever is looked for."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError, MissingResource, ObjectNotFound, StorageError
from synth_ray.storage import open_storage
from synth_ray.view.query import Query
from synth_ray.view.rows import Rows, open_rows
from synth_ray.view.values import excerpt, plain
from tests.unit.view.conftest import TEXTS, Published, publish, row_of

VALUES = {
    "label": ["refund", "parcel", "", "it's", "' OR 1=1 --"],
    'it\'s "odd"': ["a", ";", "b"],
    "checked": ["true", "false"],
    "split": ["train", "validation", "test", "none"],
    "verdict": ["accepted", "rejected", "failed"],
    "reason": ["near_duplicate", "echo", "engine_error"],
    "origin": ["real", "synthetic"],
    "teacher": ["a teacher"],
}
NUMBERS = ["score", "similarity", "prompt_tokens", "half", "large"]
BOUNDS = st.sampled_from([-2.0, 0.25, 0.5, 0.75, 0.8, 20.0, 2.0**63])
SOUGHT = st.one_of(
    st.just(""),
    st.sampled_from([text for text in TEXTS if text]).flatmap(lambda text: st.sampled_from([text, text[1:4], text.swapcase()])),
    st.text(alphabet="aSé%_'\"\\.*(\0\n;-ς日🙂 ", max_size=3),
)


def subset(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), values, max_size=2)


equals = st.lists(st.sampled_from(list(VALUES)), unique=True, max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(VALUES[name]) for name in names})
)
queries = st.builds(
    Query,
    equals=equals,
    missing=st.lists(st.sampled_from(["label", "checked", "reason", "witness", "split"]), max_size=1).map(tuple),
    low=subset(NUMBERS, BOUNDS),
    high=subset(NUMBERS, BOUNDS),
    text=SOUGHT,
    id=st.sampled_from(["", "", "", "0", "a", "ab", "%", "_"]),
    sort=st.sampled_from(["", *NUMBERS]),
    descending=st.booleans(),
)


def matches(row: dict[str, Any], query: Query) -> bool:
    def text_of(name: str) -> str | None:
        value = row.get(name)
        return str(value).lower() if isinstance(value, bool) else value

    bounds = [(row.get(n), bound, math.inf) for n, bound in query.low.items()]
    bounds += [(row.get(n), -math.inf, bound) for n, bound in query.high.items()]
    sought = re.compile(re.escape(query.text), re.IGNORECASE)
    return (
        all(text_of(name) == value for name, value in query.equals.items())
        and all(row.get(name) is None for name in query.missing)
        and all(value is not None and low <= float(value) <= high for value, low, high in bounds)
        and row["id"].startswith(query.id)
        and (not query.text or any(sought.search(row[name]) for name in ("prompt", "completion") if row[name] is not None))
    )


def expected(rows: list[dict[str, Any]], query: Query) -> list[str]:
    found = [row for row in rows if matches(row, query)]
    if query.sort:  # a row without a number is last both ways, and so is NaN; ties stay in their order
        numbers = [row for row in found if is_number(row.get(query.sort))]
        numbers.sort(key=lambda row: float(row[query.sort]), reverse=query.descending)
        found = numbers + [row for row in found if not is_number(row.get(query.sort))]
    return [row["id"] for row in found]


def is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def walk(viewed: Rows, query: Query, limit: int) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        rows, more = viewed.page(query, offset=len(found), limit=limit)
        assert len(rows) == limit or not more
        found += rows
    return found


@given(query=queries, limit=st.sampled_from([7, 50]))
def test_any_query_finds_the_rows_of_a_plain_filter_each_on_one_page(
    query: Query, limit: int, viewed: Rows, published: Published
) -> None:
    wanted = expected(published.rows, query)
    found = walk(viewed, query, limit)
    assert [row["id"] for row in found] == wanted
    assert viewed.count(query) == len(wanted)


@given(parameters=st.dictionaries(st.text(max_size=12), st.lists(st.text(max_size=12), min_size=1, max_size=2), max_size=4))
def test_any_parameters_are_a_query_or_a_wrong_input(parameters: dict[str, list[str]], viewed: Rows) -> None:
    try:
        viewed.page(Query.of(parameters))
    except JobError as error:
        assert "wanted" in str(error)


@pytest.mark.parametrize(
    "parameters",
    [
        {'is.label"; DROP TABLE x; --': ["1"]},
        {"min.score": ["nan"]},
        {"min.score": ["1e999"]},
        {"max.label": ["1"]},
        {"is.score": ["1"]},
        {"sort": ["score; SELECT 1"]},
        {"sort": ["nested"]},
        {"missing": ["bytes"]},
        {"text": ["x" * 1001]},
    ],
)
def test_what_cannot_be_asked_is_refused(parameters: dict[str, list[str]], viewed: Rows) -> None:
    with pytest.raises(JobError, match="wanted"):
        viewed.page(Query.of(parameters))


def test_a_row_of_a_list_has_its_texts_shortened_around_what_is_sought() -> None:
    long = "a" * 500 + "NEEDLE" + "b" * 500
    assert excerpt(long, "").startswith("aaa") and excerpt(long, "").endswith("…") and len(excerpt(long, "")) == 301
    assert "NEEDLE" in excerpt(long, "needle") and excerpt(long, "needle").startswith("…")
    assert (excerpt(None, "x"), excerpt("short", "zz")) == ("", "short")


def test_a_row_opens_whole_by_its_id_with_every_type_of_column(viewed: Rows, published: Published) -> None:
    for listed in walk(viewed, Query(), 50):
        by_place, by_id = viewed.row(listed["id"], listed["at"]), viewed.row(listed["id"], "0.0")
        assert by_place == by_id and json.loads(json.dumps(by_place, allow_nan=False)) == by_place
    row = viewed.row(published.rows[5]["id"])
    assert row["bytes"] == "4 bytes: ff00ff00" and row["large"] == str(2**63 + 5) and row["nothing"] is None
    assert row["score"] == "nan" and row["when"].startswith("1970-02-27") and row["nested"] == {"of": [[["a", "5.000"]], None]}
    assert (row["split"], row["verdict"], row["prompt"]) == ("train", "accepted", TEXTS[5])


@pytest.mark.parametrize("at", ["", "0.1", "99.0", "0.99999999999", "-1.0", "x", "0.²", "1" * 400])
def test_a_wrong_place_does_not_mislead(at: str, viewed: Rows, published: Published) -> None:
    assert viewed.row(published.rows[0]["id"], at)["id"] == published.rows[0]["id"]


def test_there_is_no_row_that_the_manifest_does_not_list(viewed: Rows) -> None:
    unlisted = row_of(999)["id"]
    assert viewed.page(Query(id=unlisted)) == ([], False)
    with pytest.raises(ObjectNotFound):
        viewed.row(unlisted)


def test_values_to_choose_from_add_up_and_ranges_hold_all_numbers(viewed: Rows, published: Published) -> None:
    offered = viewed.to_choose_from()
    assert {"label", 'it\'s "odd"', "checked", "split", "verdict", "reason", "origin"} <= set(offered["choices"])
    assert not {"id", "prompt", "fields", "nothing", "teacher"} & set(offered["choices"])
    for counts in offered["choices"].values():
        assert sum(rows for _, rows in counts) == len(published.rows) and all(rows > 0 for _, rows in counts)
    assert dict(offered["choices"]["verdict"])["accepted"] == published.manifest.rows.accepted
    assert offered["ranges"]["prompt_tokens"] == (0.0, float(len(published.rows) - 1))
    assert plain(float("inf")) == "inf"


def test_a_part_that_is_gone_or_cut_is_named(own: Published) -> None:
    path = own.manifest.files[1].path
    data = own.storage.read(path)
    for damage in (data[:-200], b""):
        own.storage.write(path, damage)
        rows = open_rows(own.storage)
        with pytest.raises(StorageError, match=re.escape(path)):
            walk(rows, Query(), 50)
        rows.close()
    own.storage.delete(path)
    rows = open_rows(own.storage)
    with pytest.raises(StorageError, match=re.escape(path)):
        rows.count(Query(text="x"))
    assert rows.count(Query()) == len(own.rows)  # the manifest alone is asked
    rows.close()


def test_a_version_without_rejected_rows_or_without_any_is_viewed(tmp_path: Path, own: Published) -> None:
    no_rejected = own.manifest.model_copy(update={"rejected_files": []})
    rows = Rows(own.storage, no_rejected)
    assert rows.count(Query()) == no_rejected.rows.accepted
    assert rows.page(Query(equals={"verdict": "rejected"})) == ([], False)
    rows.close()
    none = Rows(own.storage, own.manifest.model_copy(update={"files": own.manifest.files[-1:], "rejected_files": []}))
    assert (none.page(Query()), none.count(Query(text="x")), none.to_choose_from()["choices"]) == (([], False), 0, {})
    none.close()


def test_without_duckdb_the_extra_is_named(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingResource, match=r"synth-ray\[view\]"):
        open_rows(published.storage)


def test_a_bucket_is_viewed_as_a_disk_is(bucket: str, moto_server: str, published: Published, viewed: Rows) -> None:
    storage = open_storage(f"s3://{bucket}/out", endpoint_url=moto_server)
    publish(storage)
    rows = open_rows(storage)
    for query in (Query(), Query(text="parcel", sort="score"), Query(equals={"reason": "echo"}), Query(low={"similarity": 0.8})):
        assert rows.page(query) == viewed.page(query)
    assert rows.row(published.rows[-1]["id"]) == viewed.row(published.rows[-1]["id"])
    rows.close()
