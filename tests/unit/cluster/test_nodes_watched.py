"""How a run hears of drained nodes, of a head that is gone, and of other versions, without a cluster."""

from __future__ import annotations

import pytest

from synth_ray.cluster.draining import DrainingNodes, DrainTracker
from synth_ray.cluster.head import HeadWatch
from synth_ray.cluster.ray_session import _other_versions
from synth_ray.cluster.versions import VersionCheck, versions_here
from synth_ray.errors import SynthRayError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_silent_head_is_asked_nothing_and_given_up_after_half_of_rays_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
    clock, up, asked = Clock(), [True], []

    def ask() -> dict[str, float]:
        asked.append(clock.now)
        return {"a node": 30.0}

    nodes = DrainingNodes(clock, head=HeadWatch(clock, lambda: up[0]), ask=ask, is_own_up=lambda: True)
    assert nodes() == nodes() == {"a node": 30.0}
    up[0] = False
    for clock.now in (1.0, 5.0, 10.0):
        assert nodes() == {"a node": 30.0}  # what it said last
    up[0], clock.now = True, 10.9
    nodes()
    clock.now = 12.0
    nodes()
    assert asked == [0.0, 12.0]
    up[0] = False
    for clock.now in (13.0, 22.5):
        nodes()
    clock.now = 23.5
    with pytest.raises(SynthRayError, match=r"wanted Ray's head to answer, got nothing for 10 s.*run the same command again"):
        nodes()


def test_each_draining_replica_is_told_once_and_asked_once_for_its_requests() -> None:
    clock, left = Clock(), {"b": 30.0}
    tracker = DrainTracker(clock, lambda: left)
    for replica, node in enumerate("abb"):
        tracker.on_placed(replica, node)
    tracker.add_in_flight(1, 5)
    assert (tracker.new_notices(), tracker.new_notices()) == ([1, 2], [])
    assert (tracker.due_to_end(), tracker.due_to_end()) == ([2], [])  # the idle one at once
    clock.now = 26.0
    assert (tracker.due_to_end(), tracker.due_to_end()) == ([1], [])  # the other shortly before its node goes
    assert (tracker.forget(1), tracker.forget(0)) == (True, False)


def test_versions_of_ours_must_be_the_drivers_and_those_of_vllm_the_first_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.cluster.versions._address_of", lambda node: node)
    same = {name: version for name, version in versions_here().items() if name != "vllm"}
    check = VersionCheck()
    check.require_same(("a", same))
    check.require_same(("b", same | {"vllm": "0.32.0"}))
    check.require_same(("c", same | {"vllm": "0.32.0"}))
    with pytest.raises(SynthRayError, match=r"wanted vllm 0\.32\.0 on every node.*got vllm 0\.31\.0 on node d"):
        check.require_same(("d", same | {"vllm": "0.31.0"}))
    with pytest.raises(
        SynthRayError, match=r"got python 3\.8, ray 2\.1\.0, synth_ray 0\.0\.9 on node e; give all nodes the same"
    ):
        check.require_same(("e", {"synth_ray": "0.0.9", "ray": "2.1.0", "python": "3.8"}))


def test_what_ray_says_of_something_else_is_not_taken_for_versions() -> None:
    assert _other_versions("Version mismatch: something new") == ""
    assert _other_versions("No such host") == ""
