"""Requests that wait to be asked: in the plan's order, those that share a long prefix together, the longest first at the end."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from operator import attrgetter

from synth_ray.drive.lengths import Lengths
from synth_ray.records import Request

_PREFIX_CHARACTERS = 512  # about 128 tokens, eight blocks of vLLM's cache: a shorter one is computed again in no time
_HOMES_KEPT = 16_384

_MORE_LEARNED = 1.25  # times what the order was made of: then it is made again

_age = attrgetter("chunk", "position")

NOBODY = -1


class Pending:
    """Law: what is added is taken once. The order is a matter of speed: results do not depend on it.

    Requests whose seeds begin with the same long text are a group. A group goes to the replica that was given its first
    request, whose cache holds the prefix, for as long as others have something else to do.
    """

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self._groups: dict[str, deque[Request]] = {}
        self._of: dict[int, OrderedDict[str, None]] = {NOBODY: OrderedDict()}
        self._home: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._longest_first = False
        self._learned = 0

    def __len__(self) -> int:
        return self._count

    def add(self, requests: Iterable[Request]) -> None:
        for request in requests:
            name = _prefix(request) or request.id
            if name not in self._groups:
                self._groups[name] = deque()
                self._of.setdefault(self._home.get(name, NOBODY), OrderedDict())[name] = None
            self._groups[name].append(request)
            self._count += 1
        if self._longest_first:
            self.longest_first()

    def put_back(self, requests: Iterable[Request]) -> None:
        """These were asked and not answered: they are older than what waits, and go first."""
        waiting = [request for group in self._groups.values() for request in group]
        self._groups.clear()
        self._of = {NOBODY: OrderedDict()}
        self._count = 0
        self.add(sorted([*requests, *waiting], key=_age))

    def longest_first(self) -> None:
        """Nothing more will be planned: from here on what is expected to take longest is taken first."""
        self._longest_first = True
        self._learned = self._lengths.learned
        if not self._lengths.tells:
            return
        expected = {name: max(map(self._lengths.expected, group)) for name, group in self._groups.items()}
        for home, names in self._of.items():
            self._of[home] = OrderedDict.fromkeys(sorted(names, key=expected.__getitem__, reverse=True))

    def of_chunk(self, chunk: int | None, most: int) -> list[Request]:
        """Up to so many requests of this chunk alone."""
        if chunk is None:
            return []
        chosen = [r for group in self._groups.values() for r in group if r.chunk == chunk][:most]
        taken = {r.id for r in chosen}
        rest = [r for group in self._groups.values() for r in group if r.id not in taken]
        self._groups.clear()
        self._of = {NOBODY: OrderedDict()}
        self._count = 0
        self.add(rest)
        return chosen

    def take(self, replica: int, most: int) -> list[Request]:
        """Up to so many requests for this replica: of its own groups and nobody's, then of whoever has most waiting.

        A group is taken as a whole, and in its turn: until then it gathers what belongs to it.
        """
        if self._longest_first and self._lengths.learned >= _MORE_LEARNED * self._learned:
            self.longest_first()
        batch: list[Request] = []
        while len(batch) < most and self._count:
            home = self._home_for(replica)
            name = next(iter(self._of[home]))
            group = self._groups[name]
            while group and len(batch) < most:
                batch.append(group.popleft())
                self._count -= 1
            if not group:
                del self._groups[name], self._of[home][name]
            if home == NOBODY and _is_shared(name, batch[-1]):
                self._settle(name, replica)
        return batch

    def _home_for(self, replica: int) -> int:
        mine = [home for home in (replica, NOBODY) if self._of.get(home)]
        if len(mine) == 2:
            return min(mine, key=self._turn)
        return mine[0] if mine else max(self._of, key=lambda home: len(self._of[home]))

    def _turn(self, home: int) -> tuple[float, int, int]:
        first = self._groups[next(iter(self._of[home]))][0]
        return (-self._lengths.expected(first) if self._longest_first and self._lengths.tells else 0.0, *_age(first))

    def _settle(self, name: str, replica: int) -> None:
        self._home[name] = replica
        self._home.move_to_end(name)
        if len(self._home) > _HOMES_KEPT:
            self._home.popitem(last=False)
        if name in self._groups:
            del self._of[NOBODY][name]
            self._of.setdefault(replica, OrderedDict())[name] = None

    def gone(self, replica: int) -> None:
        """The replica and its cache are gone: its groups are nobody's."""
        self._home = OrderedDict((name, home) for name, home in self._home.items() if home != replica)
        self._of[NOBODY].update(self._of.pop(replica, OrderedDict()))


def _is_shared(name: str, request: Request) -> bool:
    return name != request.id


def _prefix(request: Request) -> str:
    """The beginning of the longest text of the seed, where it is long enough to be worth keeping in a cache."""
    texts = [v for v in request.seed.fields.values() if isinstance(v, str) and len(v) >= _PREFIX_CHARACTERS]
    return max(texts, key=len)[:_PREFIX_CHARACTERS] if texts else ""
