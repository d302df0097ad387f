"""A store that takes its time: what waits for it in the driver is bounded in bytes, and the dataset is the same."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from tests.proxy import Seen, proxy_to
from tests.route.test_route import job


@pytest.mark.s3
def test_buffered_bytes_stay_bounded_when_the_store_is_slow(tmp_path: Path, bucket: str, moto_server: str) -> None:
    teacher = {"engine": "scripted", "script": {"words": 200}}
    plan = {"requests": 240, "chunk_requests": 20, "window_chunks": 24}
    limits = {"waiting_bytes": 400_000, "journal_flush_s": 0}
    how: dict[str, Any] = {"models": {"teacher": teacher}, "plan": plan, "cluster": {"in_flight": 40}}
    most = {"bounded": 0, "free": 0}

    def slow(seen: Seen) -> None:
        if seen.method == "PUT" and "chunks" in seen.path:
            time.sleep(0.1)

    for name, limit in (("bounded", limits), ("free", limits | {"waiting_bytes": 10**9})):
        with proxy_to(moto_server) as proxy:
            proxy.plan = slow
            output = {"path": f"s3://{bucket}/{name}", "endpoint_url": proxy.url}

            def watch(tally: Any, name: str = name) -> None:
                most[name] = max(most[name], tally.waiting_bytes)

            result = synth_ray.run(job(tmp_path, "", output=output, limits=limit, **how), watch=watch)
        assert result.manifest["rows"]["requested"] == 480
    # Beyond the limit come only what was in flight when it was reached and the rest of the oldest chunk: 60 requests.
    assert most["free"] > 2 * 400_000 > 400_000 < most["bounded"] < most["free"]
    assert most["bounded"] < 400_000 + 60 * most["free"] / 150
