"""A run that is watched: its metrics on a real Ray's endpoint, its logs, its trace at an OpenTelemetry collector."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import synth_ray
import synth_ray.errors
import synth_ray.meter
from synth_ray.meter.metrics import BY_NAME, JOB_LABEL, MAX_SERIES, PREFIX
from tests.conftest import ROOT
from tests.faults.test_killed_actors import actors
from tests.held_server import LONGEST_S, HeldServer, held_server
from tests.route.test_route import job
from tests.unit.meter.test_monitoring import FOLDER, panel_expressions

CANARY = "quokka"
PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
Series = dict[tuple[str, tuple[str, ...]], float]


@dataclass
class Watched:
    """What was seen of one run, while it ran and after."""

    during: list[Series] = field(default_factory=list)
    after: Series = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    """How many series each expression of the dashboard had in Prometheus."""
    rules: list[dict[str, Any]] = field(default_factory=list)


def scrape(url: str) -> Series:
    """The series of synth_ray, without the labels that Ray adds."""
    from prometheus_client.parser import text_string_to_metric_families

    found: Series = {}
    for family in text_string_to_metric_families(urllib.request.urlopen(url, timeout=60).read().decode()):
        for sample in family.samples:
            if sample.name.startswith(f"ray_{PREFIX}"):
                name = sample.name.removeprefix(f"ray_{PREFIX}")
                assert family.type == "gauge" and sample.labels[JOB_LABEL] == "watched"
                found[name, tuple(sample.labels[label] for label in BY_NAME[name].labels)] = sample.value
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A run as its own process on a Ray that this process started; one of its replicas is killed, and its teacher answers slowly
    until all that the tests look for was to be seen: Ray serves new values every few seconds.
    """
    import ray

    folder = tmp_path_factory.mktemp("watched")
    ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    try:
        node = ray.nodes()[0]
        target = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
        with prometheus(folder, target) as ask, held_server() as server:
            yield _run(folder, ray.get_runtime_context().gcs_address, f"http://{target}/metrics", ask, server)
    finally:
        ray.shutdown()


def _run(folder: Path, address: str, url: str, ask: Any, server: HeldServer) -> Watched:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(_job(folder, server)))
    command = [sys.executable, "-m", "synth_ray.cli.main", "--verbose", "run", str(path), "--address", address, "--log", "json"]
    seen, began = Watched(), time.time()
    killed: list[int] = []
    server.hold(after=100, every_s=3)
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL, cwd=ROOT)
        try:
            while process.poll() is None and time.time() - began < 2 * LONGEST_S:
                time.sleep(1)
                series = {}
                with suppress(OSError):  # Ray's agent may be late
                    series = scrape(url)
                seen.during += [series] if series else []
                seen.after = series if series.get(("stage", ("ended",))) else seen.after
                if not killed and series.get(("replicas", ("teacher", "up"))) == 2 and (pids := actors("TeacherActor")):
                    killed.append(pids[0])
                    os.kill(pids[0], signal.SIGKILL)
                if series.get(("replicas", ("teacher", "lost"))) and _has_shown_all(seen.during):
                    server.let_go()
            assert process.wait(60) == 0, (folder / "stderr").read_text()[-2000:]
        finally:
            process.kill()
    seen.after = scrape(url) or seen.after  # Ray forgets a value twenty seconds after it was set
    if ask:
        time.sleep(6)  # Prometheus scrapes every two seconds, and judges its rules every five
    seen.answered = {expression: len(ask(expression, began)) for expression in panel_expressions()} if ask else {}
    seen.rules = ask("", 0) if ask else []
    seen.events = [json.loads(line) for line in (folder / "stderr").read_text().splitlines()]
    seen.manifest = json.loads((folder / "out" / "manifest.json").read_text())
    seen.rows = [row for file in seen.manifest["files"] for row in pq.read_table(folder / "out" / file["path"]).to_pylist()]
    seen.logs = {path.name: path.read_text(errors="replace") for path in _session_logs()}
    return seen


def _has_shown_all(during: list[Series]) -> bool:
    """Whether there is a value of each series that is to be seen while a run goes on, and for long enough to see it change."""
    above = {(name, labels) for series in during for (name, labels), value in series.items() if value > 0}
    looked_for = {("requests", ("in_flight",)), ("usd_expected", ())}
    return len(during) >= 8 and looked_for <= above and "replica_running" in {name for name, _ in above}


def _job(folder: Path, server: HeldServer) -> dict[str, Any]:
    document = job(
        folder,
        str(folder / "out"),
        name="watched",
        cluster={"engine": "ray", "teachers": 2, "stagers": 1, "cpus_per_teacher": 0.5},
        limits={"engine_replacements": 8, "journal_flush_s": 0.2},
        budget={"gpu_hour_usd": 3.0, "max_usd": 50.0},
    )
    document["models"] = {"teacher": server.teacher(at_once=8)}
    seeds = Path(document["seeds"])
    # What is scrubbed, rejected and failed is logged too, if anything of a row is.
    asked = seeds.read_text().replace("Question", f"Write to {CANARY}@{CANARY}.org: the {CANARY} of question")
    seeds.write_text(asked.replace('"answer": "', f'"answer": "{CANARY} '))
    return document


def _session_logs() -> list[Path]:
    """Everything Ray wrote of its processes, drivers and workers."""
    import ray

    return [
        path for path in (Path(ray._private.worker._global_node.get_session_dir_path()) / "logs").rglob("*") if path.is_file()
    ]


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Any]:
    """A real Prometheus that scrapes the target, with the alert rules. Yields None where there is no program, else
    `ask(expression, since)`: the series of a range query; without an expression the rules.
    """
    if PROMETHEUS is None:
        yield None
        return
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "5s"},
        "rule_files": [str(FOLDER / "alerts.yaml")],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = "127.0.0.1:19094"
    files = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    process = subprocess.Popen([PROMETHEUS, *files, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)

    def ask(expression: str, since: float) -> Any:
        query = {"query": expression, "start": str(since), "end": str(time.time()), "step": "5"}
        path = f"query_range?{urllib.parse.urlencode(query)}" if expression else "rules"
        answer = json.loads(urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=20).read())
        assert answer["status"] == "success"
        return answer["data"]["result"] if expression else [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.ray
def test_metrics_are_served_by_ray_while_a_job_runs(watched: Watched) -> None:
    assert len(watched.during) >= 5
    stages = [labels[0] for series in watched.during for (name, labels), on in series.items() if name == "stage" and on]
    assert stages[0] == "generating"
    running = [(labels, n) for series in watched.during for (name, labels), n in series.items() if name == "replica_running"]
    assert any(n > 0 for _, n in running) and {labels[0] for labels, _ in running} == {"teacher"}
    assert any(series.get(("requests", ("in_flight",)), 0) > 0 for series in watched.during)
    assert any(series.get(("usd_expected", ()), 0) > 0 for series in watched.during)
    assert len(set().union(*watched.during, watched.after)) <= MAX_SERIES
    waited = [sum(value for (name, _), value in series.items() if name == "wait_seconds") for series in watched.during]
    assert waited == sorted(waited) and waited[-1] > 5


@pytest.mark.ray
@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_replica_tells_what_it_runs_before_it_has_answered_anything(tmp_path: Path, engine: str) -> None:
    running: list[int] = []

    def watch(tally: Any) -> None:
        if not tally.requests_done and any(load.running for load in tally.replica_loads.values()):
            running.extend(load.running for load in tally.replica_loads.values())
            server.let_go()

    with held_server() as server:
        document = job(tmp_path, str(tmp_path / "out"), plan={"requests": 20}, quality={"measure": False})
        cluster = {"engine": engine, "teachers": 1, "stagers": 1}
        server.hold()
        synth_ray.run(document | {"models": {"teacher": server.teacher()}, "cluster": cluster}, watch=watch)
    assert running and all(running)


@pytest.mark.ray
def test_the_last_values_are_those_of_the_manifest(watched: Watched) -> None:
    after, manifest = watched.after, watched.manifest
    rows = manifest["rows"]
    assert after["stage", ("ended",)] == 1 and after["active", ()] == 0 and after["done_share", ()] == 1
    assert after["rows", ("accepted",)] == rows["accepted"]
    told = {labels: n for (name, labels), n in after.items() if name == "rows_by_reason"}
    assert told == {(verdict, reason): n for verdict in ("rejected", "failed") for reason, n in rows[verdict].items()}
    assert {kind: after["tokens", (kind,)] for kind in ("prompt", "completion")}.items() <= manifest["tokens"].items()
    assert {after["chunks", (state,)] for state in ("planned", "committed", "admitted")} == {8.0}
    assert after["requests", ("done",)] == after["requests", ("planned",)] == 300
    assert after["replicas", ("teacher", "lost")] == 1 and after["replicas", ("teacher", "up")] == 0
    assert after["usd", ()] == pytest.approx(manifest["cost"]["usd"], abs=0.01) and after["usd_budget", ()] == 50
    running = {value for (name, _), value in after.items() if name == "replica_running"}
    assert running == {0.0} and after["requests", ("in_flight",)] == after["waiting_bytes", ()] == 0


@pytest.mark.ray
def test_no_log_of_a_driver_or_worker_has_text_of_a_row(watched: Watched) -> None:
    assert all(CANARY in row["answer"] for row in watched.rows)  # kept from the seed, staged by a worker, and published
    assert any(name.startswith("worker-") and name.endswith(".err") for name in watched.logs)
    said = {row["messages"][-1]["content"] for row in watched.rows}
    logs = watched.logs | {"of the driver": json.dumps(watched.events)}
    assert [name for name, log in logs.items() if CANARY in log or any(text in log for text in said)] == []
    assert {event["job"] for event in watched.events} == {"watched"} and len({event["run"] for event in watched.events}) == 1
    gone = next(event for event in watched.events if event["event"] == "log" and "is gone" in event["message"])
    assert gone["replica"] in (0, 1)


@pytest.mark.ray
@pytest.mark.skipif(PROMETHEUS is None, reason="NOT CHECKED: no prometheus on PATH or in PROMETHEUS, so no panel was queried")
def test_each_panel_has_data_in_a_real_prometheus(watched: Watched) -> None:
    empty = {expression for expression, series in watched.answered.items() if not series}
    assert all("rows_wanted" in expression for expression in empty), empty  # this job has no target
    assert len(watched.answered) > 25
    assert {rule["health"] for rule in watched.rules} == {"ok"} and len(watched.rules) == 8


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """An OTLP/HTTP collector: its address, and the bodies that were posted, by path."""
    bodies: dict[str, list[bytes]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            bodies.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def spans_in(bodies: list[bytes]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    return [span for r in requests for resource in r.resource_spans for scope in resource.scope_spans for span in scope.spans]


def gauges_in(body: bytes) -> Series:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    found: Series = {}
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            name = metric.name.removeprefix(PREFIX)
            for point in metric.gauge.data_points:
                labels = {attribute.key: attribute.value.string_value for attribute in point.attributes}
                found[name, tuple(labels[label] for label in BY_NAME[name].labels)] = point.as_double
    return found


def test_a_run_sends_one_trace_and_its_metrics_to_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (address, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        manifest = synth_ray.run(job(tmp_path, str(tmp_path / "out"), quality={"measure": False})).manifest
    spans = spans_in(bodies["/v1/traces"])
    names = {span.span_id: span.name for span in spans}
    assert len({span.trace_id for span in spans}) == 1
    parents = {(span.name, names.get(span.parent_span_id)) for span in spans}
    assert parents == {("run", None), ("prepare", "run"), ("drive", "run"), ("publish", "run"), ("chunks", "drive")}
    facts = [{a.key: a.value.int_value for a in span.attributes} for span in spans if span.name == "chunks"]
    assert sum(fact["synth_ray.chunks"] for fact in facts) == 8 and sum(fact["synth_ray.rows"] for fact in facts) == 600
    drive = next(span for span in spans if span.name == "drive")
    inside = [span for span in spans if span.name == "chunks"]
    assert all(drive.start_time_unix_nano <= span.start_time_unix_nano <= drive.end_time_unix_nano for span in inside)
    last = gauges_in(bodies["/v1/metrics"][-1])
    assert last["rows", ("accepted",)] == manifest["rows"]["accepted"] and last["stage", ("ended",)] == 1
    assert b"Question" not in b"".join(body for of_path in bodies.values() for body in of_path)


def test_a_failed_run_ends_its_trace_with_the_type_of_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (address, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        document = job(tmp_path, str(tmp_path / "out"))
        Path(document["seeds"]).unlink()
        with pytest.raises(synth_ray.errors.JobError):
            synth_ray.run(document)
    spans = {span.name: span for span in spans_in(bodies["/v1/traces"])}
    assert set(spans) == {"run", "prepare"}
    assert (spans["run"].status.code, spans["run"].status.message) == (2, "JobError")


def test_a_collector_that_is_not_there_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    result = synth_ray.run(job(tmp_path, str(tmp_path / "out"), plan={"requests": 20}, quality={"measure": False}))
    assert not result.stopped


def test_without_the_exporter_a_run_goes_on_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, exporter, None)
    monkeypatch.delitem(sys.modules, "synth_ray.meter.otlp", raising=False)
    monkeypatch.delattr(synth_ray.meter, "otlp", raising=False)
    assert not synth_ray.run(job(tmp_path, str(tmp_path / "out"), plan={"requests": 20}, quality={"measure": False})).stopped
    assert f"{exporter} is not installed: no trace is sent; pip install 'synth-ray[otel]'" in caplog.text


def test_nothing_of_opentelemetry_is_imported_without_the_variable(tmp_path: Path) -> None:
    code = (
        "import sys, json, synth_ray\nsynth_ray.run(json.loads(sys.argv[1]))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk') or name.endswith('meter.otlp')])"
    )
    document = json.dumps(job(tmp_path, str(tmp_path / "out"), plan={"requests": 20}, quality={"measure": False}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code, document], capture_output=True, text=True, env=environment, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
