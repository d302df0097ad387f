"""What a cluster lacks for a job, said before anything starts and again while something waits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from synth_ray.cluster.facts import ClusterFacts, Labels, Node, NodeGroup, Resources, cluster_facts
from synth_ray.cluster.wants import Want, holds, matches, nodes_for, times_in, wants_of
from synth_ray.errors import JobError, SynthRayError
from synth_ray.job.document import Job

log = logging.getLogger(__name__)

_TELL_AFTER_S, _TELL_EVERY_S = 30.0, 60.0
NONE_UP: Mapping[str, int] = {}


def missing(job: Job, facts: ClusterFacts, *, up: Mapping[str, int] = NONE_UP) -> list[str]:
    """A line for each kind of actor of which the cluster now has no room for all that are to start. `up`: how many of each run
    already, with resources that are no longer free.
    """
    wants = wants_of(job, facts)
    has = {want.role: min(up.get(want.role, 0), want.count) for want in wants}
    room = _Room(facts, on_head=uses_head(job, facts))
    for want, most in _in_order_of_start(wants):
        has[want.role] += room.place(want, max(0, most - has[want.role]))
    lines = [_line(want, has[want.role], facts) for want in wants if has[want.role] < want.count]
    return lines + ([_span_line(job, facts)] if _spans_a_node(job, facts) else [])


def _in_order_of_start(wants: Sequence[Want]) -> list[tuple[Want, int]]:
    """Each with how many run afterwards: one stager, every replica, and the other stagers once there is work for them."""
    stager, *replicas = wants
    return [(stager, 1), *((want, want.count) for want in replicas), (stager, stager.count)]


def refusals(job: Job, facts: ClusterFacts) -> list[str]:
    """A line for each kind of actor that this cluster can never hold; with none, one if it can never hold the fewest of all at
    once. Nothing where an autoscaler may still bring what is lacking, or where no node but an idle head is there yet.
    """
    if facts.autoscaler != "yes" and not any(node.total.get("CPU") for node in facts.nodes):
        return []
    on_head = uses_head(job, facts)
    lines = [line for want in wants_of(job, facts) if (line := _refusal(want, facts, on_head=on_head))]
    short = _short_of_least(job, facts, on_head=on_head)
    if lines or facts.autoscaler != "no" or short is None:
        return lines
    together = ", ".join(f"1 {want.role} of {_shape(want)}" for want in wants_of(job, facts))
    return [
        f"cluster: wanted room for {together} at once, got too little for the {short.role}; add nodes, or nodes with more CPUs"
    ]


def uses_head(job: Job, facts: ClusterFacts) -> bool:
    """Whether actors may run on the head: as the job says, or because the other nodes can never hold the fewest of all."""
    if job.cluster.on_head or facts.autoscaler == "yes":
        return job.cluster.on_head
    return _short_of_least(job, facts, on_head=False) is not None


def _short_of_least(job: Job, facts: ClusterFacts, *, on_head: bool) -> Want | None:
    """What finds no room of all that must run at once: one stager, which takes its place first, and one replica of each role."""
    room = _Room(facts, on_head=on_head, empty=True)
    return next((want for want in wants_of(job, facts) if not room.place(want, 1)), None)


def _refusal(want: Want, facts: ClusterFacts, *, on_head: bool) -> str:
    where = f"cluster: wanted {_place(want)} for one {want.role}"
    if _Room(facts, on_head=on_head, empty=True).place(want, 1):
        return ""
    gpus = want.resources.get("GPU", 0.0) * want.bundles
    if gpus and facts.most_gpus is not None and gpus > facts.most_gpus:
        return (
            f"{where}, got cluster.most_gpus: {facts.most_gpus:g}; lower the engine's parallel sizes, or raise the cluster's most"
        )
    if facts.autoscaler == "no":
        return f"{where}, got {_best(want, facts)} and no autoscaler; {_next_move(want)}"
    if facts.autoscaler == "yes" and facts.groups is not None and not _group_holds(want, facts.groups):
        return f"{where}, got {_best(want, facts)}, and no group of the autoscaler's has such nodes; {_next_move(want)}"
    return ""


def _group_holds(want: Want, groups: Sequence[NodeGroup]) -> bool:
    """Groups whose labels nobody told are taken to have the right ones."""
    bare = Want(want.role, want.resources)
    able = [group for group in groups if holds(want if group.labels else bare, group.resources, group.labels)]
    return sum(group.most * times_in(want, group.resources) for group in able) >= want.bundles


def _best(want: Want, facts: ClusterFacts) -> str:
    """What comes closest, in words."""
    labelled = [n for n in facts.nodes if not want.labels or any(matches(n.labels, selector) for selector in want.labels)]
    if want.labels and not labelled:
        return "no node with these labels"
    if want.resources.get("GPU"):
        most = max((node.total.get("GPU", 0.0) for node in labelled), default=0.0)
        if want.bundles > 1:
            return f"{sum(node.total.get('GPU', 0.0) for node in labelled):g} GPUs in all"
        if most < want.resources["GPU"]:
            return f"at most {most:g} GPUs on a node" if most else "no GPU on any node"
    return f"at most {max((node.total.get('CPU', 0.0) for node in labelled), default=0.0):g} CPUs on such a node"


def _next_move(want: Want) -> str:
    moves = ["add such a node"]
    if want.role == "stager":
        return moves[0]
    own = "judge" if want.role != "teacher" else "teacher"
    if want.labels:
        moves.append(f"change cluster.{own}_labels")
    if want.resources.get("GPU", 0.0) > 1:
        moves.append("lower tensor_parallel_size, or let the engine span nodes with distributed_executor_backend: ray")
    elif want.resources.get("GPU"):
        moves.append(f"say cluster.gpus_per_{own}: 0 where vLLM runs on CPUs")
    return ", or ".join(moves)


def _line(want: Want, has: int, facts: ClusterFacts) -> str:
    return f"{want.role}: wants {want.count} × {_place(want)}, has room for {has}, {_autoscaler(want, facts)}"


def _autoscaler(want: Want, facts: ClusterFacts) -> str:
    said = any(all(request.get(k) == v for k, v in want.resources.items()) for request in facts.infeasible)
    if facts.autoscaler == "no":
        return "no autoscaler: the others start if nodes join or become free; Ctrl-C is safe"
    most = facts.autoscaler_gpus
    if said:
        known = "the autoscaler says that none of its nodes can hold this"
    elif want.resources.get("GPU") and most is not None:
        known = f"autoscaler's most {most:g} GPUs"
    else:
        known = "autoscaler's most unknown" if facts.autoscaler == "yes" else "autoscaler unknown"
    return f"{known}: waiting; Ctrl-C is safe"


def _place(want: Want) -> str:
    shape = _shape(want)
    bundles = f"{want.bundles} bundles of {shape}" if want.bundles > 1 else shape
    return bundles + (f" on nodes with {' or '.join(map(_labels, want.labels))}" if want.labels else "")


def _shape(want: Want) -> str:
    parts = [f"{amount:g} {name}{'s' if amount > 1 else ''}" for name, amount in sorted(want.resources.items(), reverse=True)]
    return " and ".join(parts) or "no resources"


def _labels(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items()) or "any labels"


def _spans_a_node(job: Job, facts: ClusterFacts) -> bool:
    """Whether the ranks of one layer, which wait for each other at every token, must be divided over nodes."""
    tensor = int(job.models.teacher.engine_args.get("tensor_parallel_size") or 1)
    return job.models.teacher.spans_nodes and 0 < facts.gpus_on_a_node < tensor


def _span_line(job: Job, facts: ClusterFacts) -> str:
    tensor = job.models.teacher.engine_args["tensor_parallel_size"]
    return (
        f"models.teacher.engine_args.tensor_parallel_size: {tensor} ranks of each layer on nodes of {facts.gpus_on_a_node:g} "
        "GPUs are slow, for they wait for the network at every token: keep it within a node and divide layers over nodes with "
        "pipeline_parallel_size"
    )


@dataclass(slots=True)
class _Place:
    node: Node
    left: dict[str, float]


class _Room:
    """Nodes that are filled one actor after another, as Ray fills them: what needs no GPU goes to those without one first."""

    def __init__(self, facts: ClusterFacts, *, on_head: bool, empty: bool = False) -> None:
        self._facts, self._on_head = facts, on_head
        self._places = {id(node): _Place(node, dict(node.total if empty else node.free)) for node in facts.nodes}

    def place(self, want: Want, count: int) -> int:
        """Place up to so many actors; returns how many found room."""
        nodes = nodes_for(want, self._facts, on_head=self._on_head)
        if not want.resources.get("GPU"):
            nodes.sort(key=lambda node: node.total.get("GPU", 0.0))
        places = [self._places[id(node)] for node in nodes]
        for placed in range(count):
            taken: Counter[int] = Counter()
            for index, place in enumerate(places):
                while taken.total() < want.bundles and _take(place.left, want.resources):
                    taken[index] += 1
            if taken.total() < want.bundles:
                for index, times in taken.items():
                    _give_back(places[index].left, want.resources, times)
                return placed
        return count


def _take(left: dict[str, float], resources: Resources) -> bool:
    if any(left.get(name, 0.0) < amount - 1e-6 for name, amount in resources.items()):
        return False
    for name, amount in resources.items():
        left[name] -= amount
    return True


def _give_back(left: dict[str, float], resources: Resources, times: int) -> None:
    for name, amount in resources.items():
        left[name] += amount * times


_PLACED_AT_ONCE = {"teacher", "stager"}
"""Kinds that say so soon after they were placed; a role's replica first loads its engine."""


def _is_told(role: str, lines: Sequence[str]) -> bool:
    return any(line.startswith(f"{role}:") for line in lines)


def _unexplained(role: str, count: int) -> str:
    return (
        f"{role}: {count} not up after {_TELL_AFTER_S:g} s, though the cluster has room: the process may be slow to start, or "
        "Ray counts something apart; `ray status` says what waits; Ctrl-C is safe"
    )


class CapacityWatch:
    """Says what is missing when a run starts, for each kind of actor once one of it has waited for 30 s, and once a minute from
    then on, as long as any waits.
    """

    def __init__(self, job: Job, clock: Callable[[], float]) -> None:
        self._job, self._clock = job, clock
        self._began = self._told_at = 0.0
        self._had_teacher = self._told_late = False
        self._waiting_since: dict[str, float] = {}
        self._told_of: set[str] = set()

    def tell_at_start(self) -> None:
        """Raises JobError where the cluster can never hold the job: nothing has been asked of it yet."""
        self._began = self._told_at = self._clock()
        facts = cluster_facts(self._job.cluster)
        if lines := refusals(self._job, facts):
            raise JobError("\n".join(lines))
        for line in missing(self._job, facts):
            log.warning("%s", line)

    def tell_again(self, waiting: Mapping[str, int], placed: Mapping[str, int]) -> bool:
        """`waiting`: by role, how many actors have no place yet; `placed`: how many have one, and may still be loading. Returns
        whether any has waited for long, and it was told. Raises SynthRayError when no teacher had a place within
        `cluster.wait_s`.
        """
        self._had_teacher = self._had_teacher or placed.get("teacher", 0) > 0
        now, is_late = self._clock(), self._is_late
        has_just_become_late = is_late and not self._told_late
        long = self._waiting_long(waiting, now)
        is_due = bool(long - self._told_of) or (bool(long) and now - self._told_at >= _TELL_EVERY_S)
        if not (is_due or (has_just_become_late and any(waiting.values()))):
            return False
        self._told_at, self._told_late, wait_s = now, is_late, self._job.cluster.wait_s
        self._told_of |= long
        lines = missing(self._job, cluster_facts(self._job.cluster), up=placed)
        unexplained = [role for role in sorted(long & _PLACED_AT_ONCE) if not _is_told(role, lines)]
        for line in [*lines, *(_unexplained(role, waiting[role]) for role in unexplained)]:
            log.warning("%s", line)
        if is_late and (of_teacher := next((line for line in lines if line.startswith("teacher:")), "")):
            raise SynthRayError(
                f"cluster.wait_s: wanted a place for the first teacher within {wait_s:g} s, got none: {of_teacher}; run "
                "it again when there is room, nothing is lost"
            )
        return bool(long)

    def _waiting_long(self, waiting: Mapping[str, int], now: float) -> set[str]:
        """The kinds of actors of which one or another has waited for `_TELL_AFTER_S` without a break."""
        roles = {role for role, count in waiting.items() if count}
        self._waiting_since = {role: self._waiting_since.get(role, now) for role in roles}
        self._told_of &= roles
        return {role for role, since in self._waiting_since.items() if now - since >= _TELL_AFTER_S}

    @property
    def _is_late(self) -> bool:
        wait_s = self._job.cluster.wait_s
        return wait_s is not None and not self._had_teacher and self._clock() - self._began > wait_s
