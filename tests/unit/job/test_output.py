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
        ({"path": "s3://user:secret@bucket/x"}, "AWS chain"),
        ({"endpoint_url": "http://key:secret@host:9000"}, "AWS chain"),
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
