"""A slow store: the bytes that wait for it in the driver are bounded."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from tests.held_server import LONGEST_S
from tests.proxy import SeenRequest, proxy_to
from tests.route.test_route import job


@pytest.mark.s3
def test_buffered_bytes_stay_bounded_when_the_store_is_slow(tmp_path: Path, bucket: str, moto_server: str) -> None:
    """No chunk is stored before the driver has as many answers as it will take, all or those within the limit: a store that is
    slow enough on any machine.
    """
    teacher = {"engine": "scripted", "script": {"words": 200}}
    plan = {"requests": 240, "chunk_requests": 20, "window_chunks": 24}
    limits = {"waiting_bytes": 400_000, "journal_flush_s": 0}
    changes: dict[str, Any] = {"models": {"teacher": teacher}, "plan": plan, "cluster": {"in_flight": 40}}
    peak_bytes = {"bounded": 0, "free": 0}

    for name, limit in (("bounded", limits), ("free", limits | {"waiting_bytes": 10**9})):
        takes_no_more = threading.Event()

        def delay(seen: SeenRequest, takes_no_more: threading.Event = takes_no_more) -> None:
            if seen.method == "PUT" and "chunks" in seen.path:
                takes_no_more.wait(LONGEST_S)
                time.sleep(0.1)

        def watch(tally: Any, name: str = name, takes_no_more: threading.Event = takes_no_more) -> None:
            peak_bytes[name] = max(peak_bytes[name], tally.buffered_bytes)
            if tally.requests_done and not tally.in_flight:
                takes_no_more.set()

        with proxy_to(moto_server) as proxy:
            proxy.plan = delay
            output = {"path": f"s3://{bucket}/{name}", "endpoint_url": proxy.url}
            result = synth_ray.run(job(tmp_path, "", output=output, limits=limit, **changes), watch=watch)
        assert result.manifest["rows"]["requested"] == 480
    of_request = peak_bytes["free"] / 240
    # Beyond the limit there may be the requests in flight when it was reached and the rest of the oldest chunk: 60 in all.
    assert peak_bytes["free"] > 2 * 400_000 > 400_000 < peak_bytes["bounded"] < peak_bytes["free"]
    assert peak_bytes["bounded"] < 400_000 + 60 * of_request, (peak_bytes, of_request)
