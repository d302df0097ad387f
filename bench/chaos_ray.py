"""The part of the soak on a local Ray: actors, index shards and whole nodes are killed at random moments of a run."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import synth_ray
from synth_ray.dataset.ledger import Ledger
from synth_ray.errors import SynthRayError
from synth_ray.storage import open_storage
from tests.faults.test_killed_runs import SCRIPT, RunOutput
from tests.faults.test_nodes import Nodes

ACTORS = {"replicas": "TeacherActor", "stagers": "StagerActor", "shards": "ShardActor"}
_REQUESTS, _CHUNK = 480, 16
_SLOTS = 2 * _REQUESTS
_KILLS_PER_RUN = 8
_PAUSE_S = (0.3, 6.0)
"""Between kills: shorter and longer than an actor takes to come up again."""
_ATTEMPTS = 4


class Killer:
    """Kills one thing after another, with SIGKILL. In the main thread: in no other one does Ray start a node."""

    def __init__(self, nodes: Nodes, draw: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self._nodes, self._draw = nodes, draw

    def kill_during(self, run: Future[str]) -> str:
        """Kill until the run has ended or there were enough kills; returns what the run returns."""
        while self.killed.total() < _KILLS_PER_RUN and not wait([run], timeout=self._draw.uniform(*_PAUSE_S)).done:
            kind = self._draw.choice([*ACTORS, "nodes"])
            while not run.done() and not (self._kill_node() if kind == "nodes" else self._kill_actor(ACTORS[kind])):
                time.sleep(0.2)  # until one of this kind is up: else nodes, which always are, would be killed alone
            self.killed[kind] += not run.done()
        return run.result()

    def _kill_actor(self, name: str) -> bool:
        from ray._private.state import state

        actors = state.actor_table(None).values()
        pids = sorted(actor["Pid"] for actor in actors if (actor["ActorClassName"], actor["State"]) == (name, "ALIVE"))
        try:
            os.kill(self._draw.choice(pids), signal.SIGKILL)
        except (IndexError, ProcessLookupError):  # none is up at this moment
            return False
        return True

    def _kill_node(self) -> bool:
        self._nodes.kill(self._draw.choice(self._nodes.ids))
        self._nodes.add(num_cpus=4)
        return True


class AskedAfterCommit:
    """Pass it as `watch`. Counts the requests that were asked after their chunk was seen to be committed."""

    def __init__(self, output: RunOutput, store: Any) -> None:
        self._output, self._ledger = output, Ledger(store)
        self._asked_before: dict[int, int] = {}
        self._next_at = 0.0

    def __call__(self, _: Any) -> None:
        if time.monotonic() < self._next_at:
            return
        committed, asked = self._ledger.committed_chunks(), len(self._output.asked_chunks())
        for chunk in committed:
            self._asked_before.setdefault(chunk, asked)
        self._next_at = time.monotonic() + 0.5

    def count(self) -> int:
        return sum(at >= self._asked_before.get(chunk, at + 1) for at, chunk in enumerate(self._output.asked_chunks()))


class RaySoak:
    """Runs on one cluster of two nodes beside the head. Where the output has an `endpoint_url`, the store has faults, too."""

    def __init__(
        self, kind: str, folder: Path, nodes: Nodes, *, seed: int, output: dict[str, Any], reads: dict[str, Any]
    ) -> None:
        self.kind, self.count = kind, Counter[str]()
        self._folder, self._nodes, self._output_options, self._reads = folder / kind.replace(" ", "-"), nodes, output, reads
        self._draw = random.Random(f"{seed}-{kind}")
        self._folder.mkdir()
        rows = (json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(_REQUESTS))
        (self._folder / "seeds.jsonl").write_text("".join(rows))
        alone = RunOutput(self._folder, "undisturbed")
        self._wanted = synth_ray.run(self._job(alone, latency_s=0.0) | {"cluster": {"engine": "local"}}).manifest[
            "dataset_digest"
        ]

    def _job(self, output: RunOutput, *, latency_s: float = 0.25) -> dict[str, Any]:
        script = SCRIPT | {"latency_s": latency_s, "concurrency": 8}
        cluster = {"engine": "ray", "teachers": 2, "stagers": 2, "cpus_per_teacher": 0.5, "index_shards": 2}
        return output.job | {
            "models": {"teacher": {"engine": "scripted", "script": script}},
            "plan": {"chunk_requests": _CHUNK, "window_chunks": 6},
            "cluster": cluster | {"index_folder": str(self._folder)},
            "limits": {"journal_flush_s": 0.2, "engine_replacements": 100},
        }

    def one_run(self, number: int) -> None:
        """A run through kills; one that stops because of them is run again."""
        options = dict(self._output_options)
        if "path" in options:
            options["path"] = f"{options['path']}/{number}"
        output = RunOutput(self._folder, f"{number}", **options)
        watch = AskedAfterCommit(output, open_storage(output.store.url, **self._reads))
        output.asked_log.write_text("")
        killer = Killer(self._nodes, self._draw)
        with ThreadPoolExecutor(1) as thread:
            digest = killer.kill_during(thread.submit(self._run_to_the_end, self._job(output), watch))
        self.count.update(killer.killed)
        self.count["kills"] += killer.killed.total()
        manifest = output.manifest()
        self.count["runs"] += 1
        self.count["survived"] += digest == self._wanted
        self.count["lost"] += _SLOTS - (manifest.rows.requested if manifest is not None else 0)
        self.count["repeated"] += watch.count()
        print(f"{self.kind}, run {number}: {dict(self.count)}", flush=True)

    def _run_to_the_end(self, document: dict[str, Any], watch: AskedAfterCommit) -> str:
        for _ in range(_ATTEMPTS):
            try:
                result = synth_ray.run(document, watch=watch)
            except SynthRayError as error:
                print(f"{self.kind}: stopped: {error}", flush=True)
            else:
                if not result.stopped:
                    return str(result.manifest["dataset_digest"])
                print(f"{self.kind}: stopped: {result.stopped}", flush=True)
            self.count["stops"] += 1
        return ""


@contextmanager
def started_nodes() -> Iterator[Nodes]:
    """A head that runs nothing and two nodes for the block, each a raylet of its own."""
    import ray

    nodes = Nodes()
    try:
        for _ in range(2):
            nodes.add(num_cpus=4)
        yield nodes
    finally:
        ray.shutdown()
        nodes.cluster.shutdown()
