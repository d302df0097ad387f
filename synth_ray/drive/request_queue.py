"""Queued requests: in plan order, those with a long common prefix together, and the longest first at the end."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from operator import attrgetter

from synth_ray.drive.lengths import LengthPredictor
from synth_ray.records import Request

_PREFIX_CHARACTERS = 512  # about 128 tokens, eight blocks of vLLM's cache: recomputing a shorter prefix costs next to nothing
_MAX_PREFIXES = 16_384

_RESORT_GROWTH = 1.25  # sort again when the predictor has learned from so many times more requests

_plan_order = attrgetter("chunk", "position")

UNASSIGNED = -1


class RequestQueue:
    """Law: what is added is taken once. The order affects speed only, never results.

    Requests whose seeds begin with the same long text are a group. A group goes to the replica that got its first request,
    because its cache holds the prefix, as long as the other replicas have work.
    """

    def __init__(self, lengths: LengthPredictor) -> None:
        self._lengths = lengths
        self._groups: dict[str, deque[Request]] = {}
        self._groups_by_replica: dict[int, OrderedDict[str, None]] = {UNASSIGNED: OrderedDict()}
        self._replica_of_prefix: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._longest_first = False
        self._observations_at_sort = 0

    def __len__(self) -> int:
        return self._count

    def add(self, requests: Iterable[Request]) -> None:
        for request in requests:
            name = _prefix(request) or request.id
            if name not in self._groups:
                self._groups[name] = deque()
                self._groups_by_replica.setdefault(self._replica_of_prefix.get(name, UNASSIGNED), OrderedDict())[name] = None
            self._groups[name].append(request)
            self._count += 1
        if self._longest_first:
            self.longest_first()

    def put_back(self, requests: Iterable[Request]) -> None:
        """Requeue requests that were submitted and not answered: they are older than the rest and go first."""
        waiting = [request for group in self._groups.values() for request in group]
        self._groups.clear()
        self._groups_by_replica = {UNASSIGNED: OrderedDict()}
        self._count = 0
        self.add(sorted([*requests, *waiting], key=_plan_order))

    def longest_first(self) -> None:
        """Nothing more will be planned: from now on the requests with the longest expected answers are taken first."""
        self._longest_first = True
        self._observations_at_sort = self._lengths.observations
        if not self._lengths.beats_mean:
            return
        expected = {name: max(map(self._lengths.predict, group)) for name, group in self._groups.items()}
        for home, names in self._groups_by_replica.items():
            self._groups_by_replica[home] = OrderedDict.fromkeys(sorted(names, key=expected.__getitem__, reverse=True))

    def take_from_chunk(self, chunk: int | None, limit: int) -> list[Request]:
        """Up to `limit` requests of this chunk only."""
        if chunk is None:
            return []
        chosen = [r for group in self._groups.values() for r in group if r.chunk == chunk][:limit]
        taken_ids = {r.id for r in chosen}
        rest = [r for group in self._groups.values() for r in group if r.id not in taken_ids]
        self._groups.clear()
        self._groups_by_replica = {UNASSIGNED: OrderedDict()}
        self._count = 0
        self.add(rest)
        return chosen

    def take(self, replica: int, limit: int) -> list[Request]:
        """Up to `limit` requests for this replica: first groups whose prefix this replica has cached, then unassigned ones, then
        those of the replica with the most queued groups.

        A group is taken as a whole, in its turn: until then requests with the same prefix gather in it.
        """
        if self._longest_first and self._lengths.observations >= _RESORT_GROWTH * self._observations_at_sort:
            self.longest_first()
        batch: list[Request] = []
        while len(batch) < limit and self._count:
            home = self._source_for(replica)
            name = next(iter(self._groups_by_replica[home]))
            group = self._groups[name]
            while group and len(batch) < limit:
                batch.append(group.popleft())
                self._count -= 1
            if not group:
                del self._groups[name], self._groups_by_replica[home][name]
            if home == UNASSIGNED and _is_shared(name, batch[-1]):
                self._assign_group(name, replica)
        return batch

    def _source_for(self, replica: int) -> int:
        candidates = [home for home in (replica, UNASSIGNED) if self._groups_by_replica.get(home)]
        if len(candidates) == 2:
            return min(candidates, key=self._priority)
        return candidates[0] if candidates else max(self._groups_by_replica, key=lambda home: len(self._groups_by_replica[home]))

    def _priority(self, home: int) -> tuple[float, int, int]:
        first = self._groups[next(iter(self._groups_by_replica[home]))][0]
        return (-self._lengths.predict(first) if self._longest_first and self._lengths.beats_mean else 0.0, *_plan_order(first))

    def _assign_group(self, name: str, replica: int) -> None:
        self._replica_of_prefix[name] = replica
        self._replica_of_prefix.move_to_end(name)
        if len(self._replica_of_prefix) > _MAX_PREFIXES:
            self._replica_of_prefix.popitem(last=False)
        if name in self._groups:
            del self._groups_by_replica[UNASSIGNED][name]
            self._groups_by_replica.setdefault(replica, OrderedDict())[name] = None

    def on_replica_gone(self, replica: int) -> None:
        """The replica and its cache are gone: its groups become unassigned."""
        self._replica_of_prefix = OrderedDict((name, home) for name, home in self._replica_of_prefix.items() if home != replica)
        self._groups_by_replica[UNASSIGNED].update(self._groups_by_replica.pop(replica, OrderedDict()))


def _is_shared(name: str, request: Request) -> bool:
    return name != request.id


def _prefix(request: Request) -> str:
    """The first characters of the seed's longest text, if it is long enough for prefix caching to pay; else empty."""
    texts = [v for v in request.seed.fields.values() if isinstance(v, str) and len(v) >= _PREFIX_CHARACTERS]
    return max(texts, key=len)[:_PREFIX_CHARACTERS] if texts else ""
