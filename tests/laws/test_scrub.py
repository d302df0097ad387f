"""The scrub's laws: idempotent, no network access, no value in a log, and no text kept that could not be scrubbed."""

from __future__ import annotations

import json
import logging
import random
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.pii_fuzz import WORST
from bench.pii_texts import corpus
from synth_ray.dedup.compared import compared_text
from synth_ray.job.document import Job
from synth_ray.job.scrub import Scrub
from synth_ray.prepare.preparation import prepare
from synth_ray.records import STAGED, Reason, Seed
from synth_ray.scrub.counts import pii_counts
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.replace.fixpoint import FixpointScrubber
from synth_ray.scrub.scrubber import Scrubber, open_scrubber
from synth_ray.scrub.seeds import scrubbed_seeds
from tests.rows import staged_row

KEY = {"SYNTH_RAY_SCRUB_KEY": "a key for tests alone"}
SAMPLES = corpus(60, seed=91)
PLANTED = sorted({s.text[a:b] for s in SAMPLES for a, b, _ in s.spans})
GLUE = [
    " ",
    "\n",
    ", ",
    "@",
    ".",
    "-",
    "",
    ": ",
    "x",
    "7",
    "<",
    ">",
    "(",
    " dot ",
    " at ",
    "my ssn ",
    "call ",
    "password is ",
    "key=",
    "é",
    "🙂",
]


@pytest.fixture(scope="module", params=["placeholder", "surrogate"])
def scrubber(request: pytest.FixtureRequest) -> Scrubber:
    return open_scrubber(Scrub(replace=request.param), environment=KEY)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from([*PLANTED, *GLUE]) | st.text(max_size=6), max_size=12))
def test_scrubbing_twice_changes_nothing(scrubber: Scrubber, pieces: list[str]) -> None:
    once = scrubber.record({"text": "".join(pieces), "all": pieces})
    twice = scrubber.record(once.value)
    assert twice.value == once.value
    assert twice.counts == {}


def test_scrubbed_chats_are_stable_and_contain_no_planted_value(scrubber: Scrubber) -> None:
    for sample in SAMPLES:
        once = scrubber.record(sample.text).value
        assert scrubber.record(once).value == once
        left = [kind for a, b, kind in sample.spans if b - a > 9 and sample.text[a:b] in once]
        assert len(left) <= 1


@pytest.fixture(scope="module")
def slow_scrubber() -> Scrubber:
    return open_scrubber(Scrub(record_timeout_s=60))


@pytest.mark.parametrize("shape", WORST)
def test_a_hundred_thousand_characters_of_each_slow_shape_are_scrubbed_in_time(shape: str, slow_scrubber: Scrubber) -> None:
    """Within the time limit of a record; the figures are in bench/results/scrub.json."""
    assert slow_scrubber.records([shape * (100_000 // len(shape))])[0].reason is None


def test_scrubbing_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    scrubber = open_scrubber(Scrub())
    assert scrubber.record("jane@mail.com, jane [at] mail.co.uk").counts == {"EMAIL_ADDRESS": 2}


def test_no_value_is_logged_at_any_level(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("presidio-analyzer", "decision_process", "tldextract"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        scrubber = open_scrubber(Scrub())
        for sample in SAMPLES[:20]:
            scrubber.record(sample.text)
        scrubber.record("My IBAN is DE12 3456 7890 1234 5678 90 and card 4111 1111 1111 1112")
    output = caplog.text + "".join(capfd.readouterr())
    planted = [s.text[a:b] for s in SAMPLES[:20] for a, b, _ in s.spans]
    assert not [value for value in [*planted, "DE12 3456", "4111 1111"] if value in output]


class FailingDetector:
    """Finds e-mail addresses; raises TimeoutError for "slow", and for "bad" a ValueError with the text in its message."""

    entities = frozenset({"EMAIL_ADDRESS"})

    def without_findings(self, texts: Sequence[str]) -> list[bool]:
        return [False for _ in texts]

    def find(self, texts: Sequence[str], *, deadline: float) -> list[list[Finding]]:
        for text in texts:
            if "slow" in text:
                raise TimeoutError
            if "bad" in text:
                raise ValueError(text)
        return [[Finding("EMAIL_ADDRESS", m.start(), m.end(), 1.0) for m in re.finditer(r"\w+@\w+", t)] for t in texts]


def staged(*texts: str, **more: Any) -> pa.Table:
    rows = [
        staged_row(
            i, prompt=t, completion=f"re: {t}", messages=[{"role": "user", "content": t}], fields=json.dumps({"of": t}), **more
        )
        for i, t in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=STAGED)


@pytest.mark.parametrize("as_model", [False, True])
def test_a_row_that_cannot_be_scrubbed_is_kept_without_text(as_model: bool, caplog: pytest.LogCaptureFixture) -> None:
    from synth_ray.scrub.replace.placeholders import Placeholders

    finders = {"models": [FailingDetector()], "finders": []} if as_model else {"finders": [FailingDetector()]}
    scrubber = Scrubber(FixpointScrubber(filter_findings=lambda _, findings: findings, make_replacer=Placeholders, **finders))  # type: ignore[arg-type]
    table = staged("jane@mail is fine", "this is slow kim@mail", "this is bad lee@mail", "nothing", reasoning="of this record")
    rows = scrubber.scrub_rows(table).to_pylist()
    assert [row["reason"] for row in rows] == [None, "scrub_failed", "scrub_failed", None]
    assert rows[0]["prompt"] == "<EMAIL_1> is fine"
    for row, kind in ((rows[1], "time ran out"), (rows[2], "ValueError")):
        assert (row["messages"], row["prompt"], row["completion"], row["fields"]) == ([], "", "", "{}")
        assert row["reasoning"] is None and "reasoning 14" in row["detail"]
        assert row["detail"].startswith(kind) and "prompt 2" in row["detail"]
        assert row["id"] and row["flags"] == ["scrub_failed"]
    rows_and_log = repr(rows) + caplog.text
    assert "kim" not in rows_and_log and "lee" not in rows_and_log
    assert rows[3] == table.to_pylist()[3]


def test_a_staged_row_is_one_record_and_its_findings_are_counted() -> None:
    scrubber = open_scrubber(Scrub(max_findings=5))
    table = scrubber.scrub_rows(staged("I am jane@mail.com", "plain", " ".join(f"{c}@mail.com" for c in "abcdef")))
    first, second, third = table.to_pylist()
    assert first["messages"][0]["content"] == "I am <EMAIL_1>" and first["completion"] == "re: I am <EMAIL_1>"
    assert json.loads(first["fields"]) == {"of": "I am <EMAIL_1>"}
    assert second["pii"] == [] and third["reason"] == Reason.TOO_MUCH_PII.value
    assert pii_counts(table) == {"EMAIL_ADDRESS": dict(first["pii"])["EMAIL_ADDRESS"] + dict(third["pii"])["EMAIL_ADDRESS"]}
    assert scrubber.scrub_rows(table).equals(table)
    assert compared_text(table, ["prompt"])[0].as_py() == "I am <EMAIL_1>"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.sampled_from(PLANTED), min_size=3, max_size=3),
    glue=st.sampled_from(["so it is {} then", "{}", "ask {}, or {}"]),
)
def test_a_thought_is_scrubbed_as_part_of_its_row(scrubber: Scrubber, values: list[str], glue: str) -> None:
    """One stand-in wherever a value is, and no token columns where text of the tokens changed."""
    first, second, third = (glue.format(value, value) for value in values)
    turns = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": second, "reasoning": third},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": first, "reasoning": second},
    ]
    tokens = {"logprobs": [], "top_k": {"k": 1} | dict.fromkeys(("prompt", "answer", "ids", "logprobs", "tail"), b"")}
    row = staged_row(0, prompt="and?", completion=first, reasoning=second, messages=turns, fields="{}", **tokens)
    table = pa.Table.from_pylist([row, staged_row(1, reasoning="a plain thought", **tokens)], schema=STAGED)
    scrubbed, plain = scrubber.scrub_rows(table).to_pylist()
    assert plain == table.to_pylist()[1]
    said = [turn["content"] for turn in scrubbed["messages"]]
    thought = [turn["reasoning"] for turn in scrubbed["messages"]]
    assert (said[0], said[1], thought[1]) == (said[3], thought[3], thought[1])
    assert (scrubbed["completion"], scrubbed["reasoning"]) == (said[3], thought[3])
    assert thought[0] is None and thought[2] is None
    changed = (scrubbed["completion"], scrubbed["reasoning"]) != (first, second)
    assert scrubbed["logprobs"] is None or not changed
    assert (scrubbed["top_k"] is None) == (
        [*said, *thought] != [*(t["content"] for t in turns), *(t.get("reasoning") for t in turns)]
    )
    again = scrubber.scrub_rows(pa.Table.from_pylist([scrubbed], schema=STAGED)).to_pylist()[0]
    assert again == scrubbed


def test_a_value_in_the_thought_alone_takes_the_row_s_token_columns() -> None:
    scrubber = open_scrubber(Scrub())
    tokens = {"logprobs": [], "top_k": {"k": 1} | dict.fromkeys(("prompt", "answer", "ids", "logprobs", "tail"), b"")}
    rows = [
        staged_row(0, fields="{}", reasoning="jane@mail.com asks", **tokens),
        staged_row(1, fields="{}", prompt="jane@mail.com asks", reasoning="she asks", **tokens),
    ]
    thought, prompt = scrubber.scrub_rows(pa.Table.from_pylist(rows, schema=STAGED)).to_pylist()
    assert thought["reasoning"] == "<EMAIL_1> asks" and dict(thought["pii"]) == {"EMAIL_ADDRESS": 1}
    assert (thought["logprobs"], thought["top_k"]) == (None, None)
    assert prompt["prompt"] == "<EMAIL_1> asks" and prompt["logprobs"] is not None
    assert prompt["top_k"] is None  # its ids spell the prompt as it was rendered


def test_scrubbed_seeds_have_new_ids() -> None:
    seeds = [
        Seed("a", "la", "train", {"prompt": "mail jane@mail.com"}),
        Seed("b", "lb", "train", {"prompt": "nothing"}),
        Seed("c", "lc", "train", {"prompt": "mail kim@mail.com"}),
        Seed("d", "ld", "train", {"prompt": "x@mail.com y@mail.com z@mail.com"}),
    ]
    rejected: list[tuple[Reason, str]] = []
    scrubber = open_scrubber(Scrub(max_findings=2))
    scrubbed = list(scrubbed_seeds(seeds, scrubber=scrubber, refuse=lambda reason, seed: rejected.append((reason, seed.id))))
    assert [s.fields["prompt"] for s in scrubbed] == ["mail <EMAIL_1>", "nothing"]
    assert scrubbed[0].id not in ("a", "c") and scrubbed[0].lineage == "la" and scrubbed[1] is seeds[1]
    assert rejected == [(Reason.DUPLICATE_SEED, "c"), (Reason.TOO_MUCH_PII, "d")]


def test_seeds_are_scrubbed_before_they_are_planned_when_the_job_says_so(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(
        "".join(json.dumps({"prompt": p}) + "\n" for p in ("mail jane@mail.com", "plain", "mail kim@mail.com"))
    )

    def prepare_with(seeds: Any) -> Any:
        document = {
            "name": "x",
            "seeds": str(tmp_path / "seeds.jsonl"),
            "recipe": {"name": "distill"},
            "models": {"teacher": {"engine": "scripted"}},
            "scrub": {"seeds": seeds},
            "split": {"fractions": {"train": 1.0}},
            "output": {"path": str(tmp_path / "out")},
        }
        (tmp_path / str(seeds)).mkdir()
        return prepare(Job.model_validate(document), spool=tmp_path / str(seeds))

    scrubbed, unscrubbed = prepare_with(True), prepare_with("auto")
    assert [scrubbed.seeds[i].fields["prompt"] for i in range(len(scrubbed.seeds))] == ["mail <EMAIL_1>", "plain"]
    assert (scrubbed.count.read, scrubbed.count.planned, dict(scrubbed.count.rejected)) == (3, 2, {"duplicate_seed": 1})
    assert len(unscrubbed.seeds) == 3 and scrubbed.ask_digest != unscrubbed.ask_digest


def test_a_record_is_scrubbed_the_same_alone_and_in_any_batch(scrubber: Scrubber) -> None:
    values = [s.text for s in SAMPLES[:12]]
    together = [r.value for r in scrubber.records(values)]
    random.Random(3).shuffle(values)
    alone = {v: scrubber.record(v).value for v in values}
    assert together == [alone[s.text] for s in SAMPLES[:12]]
