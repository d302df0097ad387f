"""A real Ray cluster on this machine for tests: a head that runs nothing by itself and a worker node, each a raylet of its own,
with the dashboard that the Jobs API needs and token authentication.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.child_processes import end, line_of
from tests.servers import free_port

_NODES = """
import sys
from ray._private.utils import write_ray_address
from ray.cluster_utils import Cluster
folder, [port, agent, other, cpus] = sys.argv[1], map(int, sys.argv[2:])
store = {"object_store_memory": 100_000_000}
head = {"num_cpus": 0, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port, "temp_dir": folder}
head |= {"dashboard_agent_listen_port": agent}  # Ray's own is one for all clusters of a machine
cluster = Cluster(initialize_head=True, head_node_args=head | store)
write_ray_address(cluster.address, folder)  # as `ray start` does: without it a job is sent to any cluster of this machine
node = {"num_cpus": cpus, "labels": {"market": "on-demand"}, "dashboard_agent_listen_port": other}
node |= {"runtime_env_dir_name": "node"}  # in one folder each node would unpack a package anew, below the feet of the driver
cluster.add_node(**node, **store)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """`url`: of the dashboard. `environment` has the cluster's token, and is the one that its processes have."""

    url: str
    folder: Path
    environment: dict[str, str]

    @property
    def token(self) -> str:
        return self.environment["RAY_AUTH_TOKEN"]


def wait_until_alone() -> None:
    """Return once the head that this process is connected to knows of no other node that is up: it hears of a lost one late, and
    sends to it what starts meanwhile.
    """
    import ray

    until = time.monotonic() + 300
    while sum(node["Alive"] for node in ray.nodes()) > 1:
        assert time.monotonic() < until
        time.sleep(0.2)


@contextmanager
def started_cluster(root: Path, *, cpus: int = 4) -> Iterator[RayCluster]:
    """Start it for the block, and end its processes, those alone, after it. `root` is on the Python path of its jobs."""
    folder = Path(tempfile.mkdtemp(prefix="sr-", dir="/tmp"))  # a socket's path may have 107 characters
    paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PYTHONPATH": paths}
    port = free_port()
    with (folder / "log").open("wb") as log:
        nodes = subprocess.Popen(
            [sys.executable, "-c", _NODES, str(folder / "ray"), str(port), str(free_port()), str(free_port()), str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=folder,
        )
        try:
            try:
                line_of(nodes)
            except RuntimeError as error:
                raise RuntimeError(f"the cluster did not start: {(folder / 'log').read_text()[-2000:]}") from error
            yield RayCluster(f"http://127.0.0.1:{port}", folder, environment)
        finally:
            end(nodes)
            shutil.rmtree(folder, ignore_errors=True)
