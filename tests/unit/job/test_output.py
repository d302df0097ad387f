from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synth_ray.job.output import Output


def test_a_path_alone_is_a_valid_output_section() -> None:
    assert Output.model_validate("out/demo") == Output(path="out/demo")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": "s3://user:secret@bucket/x"}, "standard chain"),
        ({"path": "abfss://data:secret@account.dfs.core.windows.net/x"}, "standard chain"),
        ({"path": "abfss://data@account.example.org/x"}, "standard chain"),
        ({"endpoint_url": "http://key:secret@host:9000"}, "standard chain"),
        ({"endpoint_url": "host:9000"}, "http"),
        ({"columns": {"completion": "string"}}, "plain column name"),
        ({"columns": {"../x": "string"}}, "plain column name"),
        ({"partition_by": {"label": []}}, "each once"),
        ({"partition_by": {"label": ["a", "a"]}}, "each once"),
        ({"partition_by": {"label": ["a", "7"]}}, "a letter"),
        ({"partition_by": {"label": ["a\nb"]}}, "printable"),
        ({"partition_by": {"label": [f"v{n}" for n in range(256)]}}, "at most 256 folders"),
    ],
)
def test_secrets_unsafe_names_and_ambiguous_partitions_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Output(**({"path": "out"} | wrong))
    assert "secret" not in caught.value.errors()[0]["msg"]


def test_an_abfss_address_names_the_account_before_its_host() -> None:
    assert Output(path="abfss://data@account.dfs.core.windows.net/x").path.startswith("abfss://")


@pytest.mark.parametrize(
    ("output", "seeds", "same"),
    [
        ("s3://bucket/x", "s3://other/a.jsonl", True),
        ("az://data/x", "abfss://data@account.dfs.core.windows.net/a.jsonl", True),
        ("s3://bucket/x", "seeds.jsonl", True),
        ("out", "gs://bucket/a.jsonl", True),
        ("s3://bucket/x", "gs://bucket/a.jsonl", False),
        ("gs://bucket/x", "az://data/a.jsonl", False),
    ],
)
def test_an_endpoint_is_not_asked_for_another_clouds_objects(output: str, seeds: str, same: bool) -> None:
    section = Output(path=output, endpoint_url="http://127.0.0.1:9000", region="here")
    assert section.server_for(seeds) == ({"endpoint_url": "http://127.0.0.1:9000", "region": "here"} if same else {})
