"""The manifest of a job: valid by KubeRay's own schema and rules, sized by the job, and without any secret."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.cli.arguments import parser
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.load import job_from
from synth_ray.job.overrides import with_overrides
from synth_ray.job.problems import BadJob
from synth_ray.submit.package import Package
from synth_ray.submit.rayjob import MAX_BYTES, rayjob_of, to_yaml
from synth_ray.submit.values import Values, values_in
from tests.unit.infra.manifests import faults_of, refuse_weak_pods

ENTRYPOINT = "exec python -m synth_ray.cli.main run job.yaml --address auto"


def job(*, teacher: dict[str, Any] | None = None, **keys: Any) -> Job:
    document = {
        "name": "support answers",
        "seeds": "seeds.jsonl",
        "recipe": {"name": "distill"},
        "models": {"teacher": teacher or {"model": "Qwen/Qwen3-8B"}},
        "output": "s3://bucket/out",
    }
    return job_from(document | keys)


def package(files: dict[str, bytes] | None = None, name: str = "support answers", digest: str = "ab12cd34" * 8) -> Package:
    return Package(
        name=name,
        job_digest=digest,
        output="s3://bucket/out",
        job_file="job.yaml",
        files=files or {"job.yaml": b"name: support answers\n"},
        entrypoint=ENTRYPOINT,
        env_vars={"RAY_JOB_STOP_WAIT_TIME_S": "120"},
        metadata={"output": "s3://bucket/out"},
    )


def rendered(values: Values | None = None, *, files: dict[str, bytes] | None = None, **keys: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind, through their YAML."""
    text = to_yaml(rayjob_of(package(files), job(**keys), values or Values()))
    return {o["kind"]: o for o in yaml.safe_load_all(text)}


def groups(objects: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {g["groupName"]: g for g in objects["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]}


def gpus_of(group: dict[str, Any]) -> int:
    return int(group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


TWO_NODES = {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}
VALUES = st.builds(
    Values,
    cloud=st.sampled_from(["gke", "eks", "aks", "none"]),
    seccomp_profile=st.sampled_from(["", "profiles/sandbox.json"]),
    queue=st.sampled_from(["", "batch"]),
    priority_class=st.sampled_from(["", "low"]),
    token_secret=st.sampled_from(["", "token"]),
    secret_env=st.sampled_from([[], ["HF_TOKEN"]]),
    cache=st.sampled_from([{}, {"claim": "weights"}]),
    gpu=st.sampled_from([{}, {"spot": False}, {"node_selector": {"zone": "a"}, "tolerations": [{"operator": "Exists"}]}]),
    cpu=st.sampled_from([{}, {"spot": True}]),
)
TEACHERS = st.sampled_from(
    [
        {"model": "a/b", "engine_args": {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}},
        {"model": "a/b", "engine_args": {"tensor_parallel_size": 16, "distributed_executor_backend": "ray"}},
        {"model": "a/b"},
        {"engine": "scripted"},
        {"model": "m", "engine": "endpoint", "endpoint": {"urls": "http://host/v1", "key_env": "TEACHER_KEY"}},
    ]
)


@given(VALUES, TEACHERS, st.integers(1, 64), st.integers(1, 20))
@settings(max_examples=40)
def test_every_object_is_valid_by_its_own_schema_and_rules(values: Values, teacher: Any, teachers: int, stagers: int) -> None:
    objects = rendered(values, teacher=teacher, cluster={"teachers": teachers, "stagers": stagers})
    assert list(objects) == ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "RayJob"]
    assert [fault for manifest in objects.values() for fault in faults_of(manifest)] == []
    refuse_weak_pods(objects["RayJob"])


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (["spec", "shutDownAfterJobFinishes"], True, "shutDownAfterJobFinishes"),
        (["spec", "submitterPodTemplate", "spec", "terminationGracePeriodSecond"], 3, "terminationGracePeriodSecond"),
        (["spec", "backoffLimit"], "3", "'3' is not of type 'integer'"),
        (["spec", "shutdownAfterJobFinishes"], False, "ttlSecondsAfterFinished"),
        (["spec", "rayClusterSpec", "rayVersion"], "2.9.0", "authOptions.mode"),
        (["spec", "deletionStrategy"], {"onSuccess": {"policy": "DeleteCluster"}}, "BOTH onSuccess and onFailure"),
        (["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "restartPolicy"], "Always", "restartPolicy"),
        (["metadata", "name"], "9-lives", "metadata.name"),
    ],
)
def test_the_check_itself_finds_what_a_cluster_would_drop_or_refuse(path: list[str], value: Any, fault: str) -> None:
    manifest = rendered()["RayJob"]
    place = manifest
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert any(fault in found for found in faults_of(manifest)), faults_of(manifest)


@pytest.mark.parametrize(
    ("teacher", "cluster", "most", "gpus", "hosts", "cpus"),
    [
        ({"model": "a/b"}, {"teachers": 8}, 8, 1, 1, "1"),
        ({"model": "a/b", "engine_args": {"tensor_parallel_size": 4}}, {"teachers": 3, "cpus_per_teacher": 2.5}, 3, 4, 1, "3"),
        ({"model": "a/b"}, {"teachers": 5, "gpus_per_teacher": 0.5}, 3, 1, 1, "2"),
        ({"model": "a/b", "engine_args": TWO_NODES}, {"teachers": 2}, 2, 8, 2, "1"),
    ],
)
def test_gpu_pods_are_those_of_one_replica(
    teacher: dict[str, Any], cluster: dict[str, Any], most: int, gpus: int, hosts: int, cpus: str
) -> None:
    group = groups(rendered(teacher=teacher, cluster=cluster))["gpu-teacher"]
    assert (group["maxReplicas"], gpus_of(group), group["numOfHosts"]) == (most, gpus, hosts)
    assert group["rayStartParams"]["num-cpus"] == cpus
    assert (group["minReplicas"], group["replicas"]) == (0, 0)
    assert group["template"]["spec"]["containers"][0]["image"].endswith("-gpu")


def test_each_pool_of_engines_has_a_group_with_its_own_label() -> None:
    models = {
        "teacher": {"model": "a/b"},
        "judge": {"model": "other/judge", "engine_args": {"tensor_parallel_size": 2}},
    }
    criteria = {"judge": {"criteria": {"helpful": "It helps."}}}
    fixed = groups(rendered(models=models, check=criteria, cluster={"pools": "separate", "teachers": 6, "judges": 2}))
    assert {name: (g["maxReplicas"], gpus_of(g), g["labels"]["pool"]) for name, g in fixed.items()} == {
        "cpu": (1, 0, "cpu"),
        "gpu-teacher": (6, 1, "teacher"),
        "gpu-judge": (2, 2, "judge"),
    }
    moving = groups(rendered(models=models, check=criteria, cluster={"pools": "separate", "replicas": 8, "judges": 2}))
    assert {name: g["maxReplicas"] for name, g in moving.items()} == {"cpu": 1, "gpu-teacher": 7, "gpu-judge": 7}


def test_replicas_without_gpus_are_in_the_cpu_group() -> None:
    teacher = {"model": "m", "engine": "endpoint", "endpoint": {"urls": "http://host/v1"}}
    found = groups(rendered(teacher=teacher, cluster={"teachers": 6, "stagers": 3}))
    assert {name: g["maxReplicas"] for name, g in found.items()} == {"cpu": 3}  # nine CPUs, four in a pod


@pytest.mark.parametrize(
    ("models", "cluster", "told"),
    [
        ({"teacher": {"model": "a/b", "engine_args": {"tensor_parallel_size": 4}}}, {}, {"cluster.gpus_per_teacher": 4}),
        ({"teacher": {"model": "a/b"}}, {"gpus_per_teacher": 0.5}, {}),
        ({"teacher": {"engine": "scripted"}}, {}, {}),
        ({"teacher": {"model": "a/b"}, "judge": "other/judge"}, {}, {"cluster.gpus_per_teacher": 2}),
        (
            {"teacher": {"model": "a/b"}, "judge": "other/judge"},
            {"pools": "separate"},
            {"cluster.gpus_per_teacher": 1, "cluster.gpus_per_judge": 1},
        ),
        (
            {"teacher": {"model": "a/b", "engine_args": {"tensor_parallel_size": 8}}, "judge": "c/d"},
            {},
            {"cluster.gpus_per_teacher": 8},
        ),
    ],
)
def test_a_driver_that_starts_before_any_gpu_is_there_is_told_what_a_replica_requests(
    models: dict[str, Any], cluster: dict[str, Any], told: dict[str, float]
) -> None:
    objects = rendered(models=models, cluster=cluster)
    arguments = parser().parse_args(objects["RayJob"]["spec"]["entrypoint"].split()[4:])
    given = {key: float(gpus) for key, _, gpus in (text.partition("=") for text in arguments.set)}
    assert given == told and arguments.done_when_stopped
    document = {"models": models, "cluster": cluster}
    started = with_overrides(document, given)
    assert job(**started).cluster.engine == "ray"  # and is a job that is taken


def test_shards_of_the_index_find_room_beside_the_stagers() -> None:
    assert groups(rendered(cluster={"stagers": 4}))["cpu"]["maxReplicas"] == 1
    assert groups(rendered(cluster={"stagers": 4, "index_shards": 2}))["cpu"]["maxReplicas"] == 2


def test_nothing_of_the_job_runs_on_the_head_but_its_driver() -> None:
    head = rendered()["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in head["template"]["spec"]["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize(
    ("cloud", "label", "value", "notice"),
    [
        ("gke", "cloud.google.com/gke-spot", "true", 30),
        ("eks", "karpenter.sh/capacity-type", "spot", 120),
        ("aks", "kubernetes.azure.com/scalesetpriority", "spot", 30),
    ],
)
def test_spot_nodes_are_asked_for_by_the_clouds_own_label_and_left_within_its_notice(
    cloud: Any, label: str, value: str, notice: int
) -> None:
    objects = rendered(Values(cloud=cloud))
    pod = groups(objects)["gpu-teacher"]["template"]["spec"]
    assert pod["nodeSelector"] == {label: value}
    assert {"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"} in pod["tolerations"]
    assert pod["terminationGracePeriodSeconds"] <= notice
    head = objects["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    [term] = head["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": label, "operator": "NotIn", "values": [value]}]


def test_what_another_start_would_not_change_is_not_started_again() -> None:
    spec = rendered()["RayJob"]["spec"]
    assert spec["entrypoint"].startswith(f"{ENTRYPOINT} --done-when-stopped")
    assert (spec["backoffLimit"], spec["submitterConfig"]["backoffLimit"]) == (3, 0)


def test_no_variable_is_left_to_the_submitters_shell() -> None:
    sent = replace(package(), entrypoint=ENTRYPOINT.replace("auto", '"${RAY_ADDRESS:-auto}"'))
    spec = rayjob_of(sent, job(teacher={"engine": "scripted"}), Values())[-1]["spec"]
    assert spec["entrypoint"] == f"{ENTRYPOINT} --done-when-stopped"


@pytest.mark.parametrize(("budget", "seconds"), [({"max_seconds": 7200}, 7200 + 3600 + 3600), ({}, 7 * 86_400 + 3600)])
def test_the_deadline_is_the_budgets_with_room_to_publish(budget: dict[str, Any], seconds: int) -> None:
    assert rendered(budget=budget)["RayJob"]["spec"]["activeDeadlineSeconds"] == seconds


def test_secrets_are_named_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["TEACHER_KEY", "JUDGE_KEY", "SCRUB_KEY", "HF_TOKEN"]
    for name in names:
        monkeypatch.setenv(name, f"the-secret-of-{name}")
    models = {
        "teacher": {"model": "m", "engine": "endpoint", "endpoint": {"urls": "http://host/v1", "key_env": "TEACHER_KEY"}},
        "judge": {"model": "j", "engine": "batch_api", "batch": {"url": "http://host/v1", "key_env": "JUDGE_KEY"}},
    }
    scrub = {"replace": "surrogate", "key_env": "SCRUB_KEY"}
    made = rayjob_of(package(), job(models=models, scrub=scrub), Values(secret="keys", secret_env=["HF_TOKEN"]))
    assert "the-secret-of" not in to_yaml(made)
    head = made[-1]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    taken = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in head["env"] if "valueFrom" in e}
    assert taken == {name: {"name": "keys", "key": name} for name in sorted(names)}


def test_a_key_that_is_not_used_need_not_be_in_the_secret() -> None:
    assert "SYNTH_RAY_SCRUB_KEY" not in to_yaml([*rendered().values()])


def test_files_are_where_the_job_names_them(tmp_path: Path) -> None:
    files = {"job.yaml": b"a: 1\n", "data/seeds.jsonl": b"{}\n", "data_seeds.jsonl": b"[]\n", "data/x.gz": b"\xff\x00"}
    objects = rendered(files=files)
    config = objects["ConfigMap"]
    pod = objects["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    [volume] = [v for v in pod["volumes"] if v["name"] == "job"]
    contents = {k: v.encode() for k, v in config["data"].items()}
    contents |= {k: base64.b64decode(v) for k, v in config["binaryData"].items()}
    assert {item["path"]: contents[item["key"]] for item in volume["configMap"]["items"]} == files
    assert pod["containers"][0]["workingDir"] == "/job"


@pytest.mark.parametrize("name", ["42", "Ä", "x" * 100, "A Job – of 3!", "-"])
def test_any_name_of_a_job_is_one_that_kubernetes_takes(name: str) -> None:
    manifest = rayjob_of(package(name=name), job(), Values())[-1]
    assert faults_of(yaml.safe_load(to_yaml([manifest]))) == []
    assert manifest["metadata"]["name"].endswith("-ab12cd34")


def test_the_network_is_closed_but_for_what_a_job_needs() -> None:
    objects = rendered(Values(network={"egress": [{"ports": [{"port": 9000}]}]}))
    policy, job_label = objects["NetworkPolicy"]["spec"], objects["RayJob"]["metadata"]["name"]
    own = {"podSelector": {"matchLabels": {"synth-ray/job": job_label}}}
    assert policy["podSelector"] == own["podSelector"] and policy["policyTypes"] == ["Ingress", "Egress"]
    assert {"from": [own]} in policy["ingress"] and {"to": [own]} in policy["egress"]
    outside = {p["port"] for rule in policy["ingress"] if own not in rule["from"] for p in rule["ports"]}
    assert outside == {8265, 8080, 44217, 44227}
    assert policy["egress"][-1] == {"ports": [{"port": 9000}]}
    for manifest in [objects["RayJob"]["spec"]["submitterPodTemplate"], *(g["template"] for g in groups(objects).values())]:
        assert manifest["metadata"]["labels"]["synth-ray/job"] == job_label


def test_too_many_bytes_for_a_configmap_are_refused_with_the_next_move() -> None:
    with pytest.raises(JobError, match=r"at most 900 kB .* got 900 kB, most of it in 'seeds.jsonl'; copy that to the output's"):
        rendered(files={"job.yaml": b"a", "seeds.jsonl": b"b" * MAX_BYTES})


@pytest.mark.parametrize(
    ("values", "teacher", "cluster", "told"),
    [
        ({"gpu": {"per_node": 4}}, {"engine_args": {"tensor_parallel_size": 8}}, {}, "gpu.per_node: wanted the 8 GPUs"),
        (
            {"gpu": {"per_node": 3}},
            {"engine_args": {"tensor_parallel_size": 8, "distributed_executor_backend": "ray"}},
            {},
            "or a divisor of 8 for an engine over several, got 3",
        ),
        ({"gpu": {"cpus": 2}}, {}, {"cpus_per_teacher": 4}, "gpu.cpus: wanted at least 4 CPUs for a teacher replica, got 2"),
        ({"cpu": {"cpus": 2}}, {"engine": "scripted"}, {"cpus_per_teacher": 4}, "cpu.cpus: wanted at least 4 CPUs"),
    ],
)
def test_a_replica_that_no_pod_can_hold_is_refused(values: Any, teacher: Any, cluster: Any, told: str) -> None:
    teacher = teacher if "engine" in teacher else {"model": "a/b", **teacher}
    with pytest.raises(JobError, match=told):
        rendered(Values(**values), teacher=teacher, cluster=cluster)


def test_wrong_values_are_told_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("cloud: gke\ngpu:\n  memmory: 64Gi\n  per_node: 0\n")
    with pytest.raises(BadJob) as caught:
        values_in(file)
    assert f"{file}:3: gpu.memmory: wanted a known key" in str(caught.value) and "did you mean 'memory'?" in str(caught.value)
    assert f"{file}:4: gpu.per_node: wanted greater than or equal to 1, got 0" in str(caught.value)


def test_a_profile_of_the_nodes_replaces_the_runtimes_own() -> None:
    spec = rendered(Values(seccomp_profile="profiles/sandbox.json"))["RayJob"]["spec"]["rayClusterSpec"]
    pod = spec["headGroupSpec"]["template"]["spec"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "profiles/sandbox.json"}


def test_the_same_package_is_the_same_text() -> None:
    assert to_yaml(rayjob_of(package(), job(), Values())) == to_yaml(rayjob_of(package(), job(), values_in(None)))
