"""A bounded soak test: seeded kills of drivers, of Ray's actors, index shards and nodes, deaths of engines and faults of stores.

Every run must end with the same dataset as an undisturbed one. `lost` counts slots that are missing from it, `repeated`
requests that were asked again after their chunk was committed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.chaos_ray import ACTORS, RaySoak, started_nodes
from bench.results import report
from synth_ray.dataset.ledger import Ledger
from tests.faults.test_killed_runs import CHUNK, CHUNKS, RunOutput
from tests.faults.test_nodes import Nodes
from tests.fork_server import KILLED, ForkServer
from tests.proxy import Proxy, SeenRequest, proxy_to
from tests.servers import CREDENTIALS, environment, started_moto

_ATTEMPTS = 6
_FAULTS = ("internal", "slow_down", "reset_before", "reset_after", "torn")
_SLOTS = 2 * CHUNK * CHUNKS


class Soak:
    """Runs of one kind. Draws depend on the seed alone; which moment a kill hits depends on timing as well."""

    def __init__(
        self, kind: str, folder: Path, fork_server: ForkServer, *, seed: int, output: dict[str, Any], deaths: bool
    ) -> None:
        self.kind = kind
        self.count: Counter[str] = Counter()
        self._folder, self._fork_server, self._output_options, self._deaths = folder, fork_server, output, deaths
        self._draw = random.Random(f"{seed}-{kind}")
        undisturbed = self._output("undisturbed")
        self._did = int(fork_server.run(undisturbed.job, counts="anything")["did"])
        self._wanted = undisturbed.manifest()
        assert self._wanted is not None

    def _output(self, name: str) -> RunOutput:
        output = dict(self._output_options)
        if "path" in output:
            output["path"] = f"{output['path']}/{name}"
        return RunOutput(self._folder, f"{self.kind}-{name}".replace(" ", "-"), **output)

    def one_run(self, number: int) -> None:
        output = self._output(str(number))
        if self._deaths:
            script = output.job["models"]["teacher"]["script"] | {"die_after": self._draw.randrange(6, 30), "latency_s": 0.002}
            output.job["models"] = {"teacher": {"engine": "scripted", "script": script | {"concurrency": 4}}}
            output.job["limits"] = output.job["limits"] | {"engine_replacements": 20}
        for attempt in range(_ATTEMPTS):
            at = self._draw.randrange(self._did) if attempt < _ATTEMPTS - 1 else None
            committed, before = set(Ledger(output.store).committed_chunks()), len(output.asked_chunks())
            code = self._fork_server.run(output.job, at=at, counts="anything")["code"]
            self.count["kills"] += code == KILLED
            self.count["stops"] += code not in (0, KILLED)
            self.count["repeated"] += sum(chunk in committed for chunk in output.asked_chunks()[before:])
        self._count_result(output)

    def _count_result(self, output: RunOutput) -> None:
        manifest, wanted = output.manifest(), self._wanted
        assert wanted is not None
        self.count["runs"] += 1
        self.count["survived"] += manifest is not None and manifest.complete and manifest.dataset_digest == wanted.dataset_digest
        self.count["lost"] += _SLOTS - (manifest.rows.requested if manifest is not None else 0)


def soak(kinds: Sequence[Soak | RaySoak], proxy: Proxy, *, kills: int, seconds: float) -> None:
    """One run of each kind in turn, until there were `kills` kills beside the faults of the store, or `seconds` have passed."""
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds and sum(s.count["kills"] for s in kinds) < kills:
        for kind in kinds:
            before = len(proxy.faults)
            kind.one_run(number)
            kind.count["store faults"] += len(proxy.faults) - before
        number += 1


def _driver_kinds(folder: Path, fork_server: ForkServer, moto: str, proxy: Proxy, seed: int) -> list[Soak]:
    bucket = {"path": "s3://chaos/out", "endpoint_url": moto}
    faulty_bucket = {"path": "s3://chaos/faulty", "endpoint_url": proxy.url}
    options: dict[str, Any] = {"seed": seed, "deaths": False}
    return [
        Soak("driver, disk", folder, fork_server, output={}, **options),
        Soak("driver, bucket", folder, fork_server, output=bucket, **options),
        Soak("driver and store", folder, fork_server, output=faulty_bucket, **options),
        Soak("driver and engine", folder, fork_server, output={}, seed=seed, deaths=True),
    ]


def _ray_kinds(folder: Path, nodes: Nodes, moto: str, proxy: Proxy, seed: int) -> list[RaySoak]:
    faulty_bucket = {"path": "s3://chaos/ray", "endpoint_url": proxy.url}
    return [
        RaySoak("Ray, disk", folder, nodes, seed=seed, output={}, reads={}),
        RaySoak("Ray and store", folder, nodes, seed=seed, output=faulty_bucket, reads={"endpoint_url": moto}),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--kills", type=int, default=300, help="kills after which it ends, beside which the store has faults")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--only", choices=("driver", "ray"), help="only kills of drivers and engines, or only those on Ray")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    draw, lock = random.Random(arguments.seed), threading.Lock()

    def plan(_: SeenRequest) -> str | None:
        with lock:
            return draw.choice(_FAULTS) if draw.random() < 0.04 else None

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(environment(CREDENTIALS))
        moto = stack.enter_context(started_moto(folder))
        proxy = stack.enter_context(proxy_to(moto))
        import boto3

        boto3.client("s3", endpoint_url=moto).create_bucket(Bucket="chaos")
        kinds: list[Soak | RaySoak] = []
        if arguments.only != "ray":
            fork_server = ForkServer()
            stack.callback(fork_server.close)
            kinds += _driver_kinds(folder, fork_server, moto, proxy, arguments.seed)
        if arguments.only != "driver":
            kinds += _ray_kinds(folder, stack.enter_context(started_nodes()), moto, proxy, arguments.seed)
        proxy.plan = plan
        soak(kinds, proxy, kills=arguments.kills, seconds=arguments.seconds)
        proxy.plan = lambda _: None
    columns = ("runs", "kills", *ACTORS, "nodes", "store faults", "stops", "survived", "lost", "repeated")
    report(
        "chaos",
        [{"kind": s.kind} | {c: s.count[c] for c in columns} for s in kinds],
        packages=("boto3", "moto", "pyarrow", "ray"),
    )
    if any(s.count["lost"] or s.count["repeated"] or s.count["survived"] < s.count["runs"] for s in kinds):
        raise SystemExit("bench-chaos: a run was lost, repeated or different; the table says which kind")


if __name__ == "__main__":
    main()
