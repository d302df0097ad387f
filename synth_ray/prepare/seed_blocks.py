"""Seeds as columns: what any process can make of a piece of a source without the rows before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from synth_ray.dedup.fingerprint import Fingerprints
from synth_ray.dedup.hashing import U64, Array
from synth_ray.dedup.neighbours import neighbour_fingerprinter
from synth_ray.job.document import Job
from synth_ray.job.scrub import Scrub
from synth_ray.job.split import Split
from synth_ray.plan.cells import cell_of
from synth_ray.plan.seeds import RejectedSeed, SourcePiece
from synth_ray.plan.splits import split_of
from synth_ray.records import SPLITS, Origin, Reason, Seed, canonical_json
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.scrub.seeds import scrubbed_id

REASONS = tuple(Reason)
_ORIGINS = tuple(Origin)
USABLE = -1


@dataclass(frozen=True, slots=True)
class BlockRules:
    """What is made of every seed. `fractions` are the splits' shares, `scrub` the rules where models see scrubbed seeds, `cells`
    the lists of fields whose values are counted. `with_seeds` keeps the seeds themselves beside their columns.
    """

    split: Split
    fractions: Mapping[str, float]
    scrub: Scrub | None = None
    cells: tuple[Sequence[str], ...] = ()
    with_seeds: bool = False


@dataclass(slots=True)
class SeedBlock:
    """N rows of one file in order, G of them seeds (at `places` among the rows).

    Of N: `reasons` (an index in REASONS, or USABLE), `lines`, `spans` (lines of a row). Of G: `ids` and `lineages` (G×2 uint64),
    `splits` (of a group that the seed begins; -1 where it is drawn by its stratum), `answered` (has an answer of text),
    `fields` (canonical JSON, of what models see), `shown_ids` (of that) and `refused` (why it is not shown, as `reasons`), and
    one list of cells for each of the rules' `cells`.
    """

    file: str
    reasons: Array
    lines: Array
    spans: Array
    places: Array
    ids: Array
    lineages: Array
    splits: Array
    answered: Array
    origins: Array
    depths: Array
    fields: pa.Array
    shown_ids: Array
    refused: Array
    strata: list[str]
    cells: list[list[str | None]]
    prints: Fingerprints | None
    seeds: list[Seed] = field(default_factory=list)

    @property
    def usable(self) -> Array:
        """Which of the G seeds are not rejected so far."""
        usable: Array = self.reasons[self.places] == USABLE
        return usable

    def reject(self, chosen: Array, reason: Reason) -> None:
        """Reject the seeds of this mask that are not rejected yet."""
        places = self.places[chosen & self.usable]
        self.reasons[places] = REASONS.index(reason)

    def first(self, rows: int) -> SeedBlock:
        """The block without the rows behind the first ones."""
        seeds = int(np.searchsorted(self.places, rows))
        cut = {name: getattr(self, name)[:rows] for name in ("reasons", "lines", "spans")}
        of_seeds = ("places", "ids", "lineages", "splits", "answered", "origins", "depths", "fields", "shown_ids", "refused")
        cut |= {name: getattr(self, name)[:seeds] for name in (*of_seeds, "strata", "seeds")}
        prints = self.prints
        if prints is not None:
            ends = prints.offsets[: seeds + 1]
            prints = Fingerprints(prints.digests[:seeds], prints.bands[:seeds], prints.shingles[: ends[-1]], ends)
        return SeedBlock(self.file, **cut, cells=[names[:seeds] for names in self.cells], prints=prints)


class BlockMaker:
    """Makes blocks by the rules. Raises MissingResource where the scrub's engine does not open."""

    def __init__(self, rules: BlockRules) -> None:
        self.rules = rules
        self._scrubber = open_scrubber(rules.scrub) if rules.scrub is not None else None
        group_at = rules.split.group_at
        self._fingerprinter = neighbour_fingerprinter(group_at) if group_at is not None else None

    def block_of_piece(self, piece: SourcePiece) -> SeedBlock:
        """An error that is not of a row, such as one of the program, names the piece in a note."""
        try:
            return self._block(piece.file, list(piece.seeds()))
        except Exception as error:
            error.add_note(f"while the rows from {piece.place} on were read")
            raise

    def block_of_seeds(self, rows: Iterable[Seed | RejectedSeed]) -> SeedBlock:
        """Of rows that were read already, whatever their files: the block has none."""
        return self._block("", [row if isinstance(row, RejectedSeed) else (row, canonical_json(row.fields)) for row in rows])

    def _block(self, file: str, rows: list[tuple[Seed, bytes] | RejectedSeed]) -> SeedBlock:
        good = [row for row in rows if not isinstance(row, RejectedSeed)]
        seeds, contents = [seed for seed, _ in good], [content for _, content in good]
        ids = _digests(seed.id for seed in seeds)
        shown, shown_ids, refused = self._scrubbed(seeds, contents, ids)
        texts = pa.array([str(seed.fields["prompt"]) for seed in seeds], pa.large_string())
        lines = [row.line if isinstance(row, RejectedSeed) else row[0].line for row in rows]
        reasons = [REASONS.index(row.reason) if isinstance(row, RejectedSeed) else USABLE for row in rows]
        return SeedBlock(
            file,
            np.array(reasons, np.int8),
            np.array(lines, np.int64),
            np.array([row.lines if isinstance(row, RejectedSeed) else 1 for row in rows], np.int64),
            places=np.flatnonzero(np.array(reasons, np.int8) == USABLE),
            ids=ids,
            lineages=_digests(seed.lineage for seed in seeds),
            splits=np.array([self._split(seed) for seed in seeds], np.int8),
            answered=np.array([isinstance(seed.fields.get("answer"), str) for seed in seeds], bool),
            origins=np.array([_ORIGINS.index(seed.origin) for seed in seeds], np.int8),
            depths=np.array([seed.depth for seed in seeds], np.int8),
            fields=pa.array([content for _, content in shown], pa.large_binary()),
            shown_ids=shown_ids,
            refused=refused,
            strata=self._strata(seeds),
            cells=[[cell_of(fields, by) for fields, _ in shown] if by else [] for by in self.rules.cells],
            prints=self._fingerprinter(texts) if self._fingerprinter is not None else None,
            seeds=seeds if self.rules.with_seeds else [],
        )

    def _scrubbed(
        self, seeds: list[Seed], contents: list[bytes], ids: Array
    ) -> tuple[list[tuple[Mapping[str, object], bytes]], Array, Array]:
        """What models see: (fields, their canonical JSON) of each seed, the ids, and why a seed is not shown."""
        refused = np.full(len(seeds), USABLE, np.int8)
        shown: list[tuple[Mapping[str, object], bytes]] = [
            (seed.fields, content) for seed, content in zip(seeds, contents, strict=True)
        ]
        if self._scrubber is None or not seeds:
            return shown, ids, refused
        changed: dict[int, str] = {}
        for i, result in enumerate(self._scrubber.records([seed.fields for seed in seeds])):
            if result.reason is not None:
                refused[i] = REASONS.index(result.reason)
            elif result.counts:
                shown[i] = (result.value, canonical_json(result.value))
                changed[i] = scrubbed_id(result.value)
        shown_ids = ids.copy()
        shown_ids[list(changed)] = _digests(changed.values())
        return shown, shown_ids, refused

    def _split(self, seed: Seed) -> int:
        if self.rules.split.stratify:
            return -1
        return SPLITS.index(split_of(seed.lineage, self.rules.fractions, salt=self.rules.split.salt))

    def _strata(self, seeds: list[Seed]) -> list[str]:
        name = self.rules.split.stratify
        return [str(seed.fields.get(name, "")) for seed in seeds] if name else []


def _digests(names: Iterable[str]) -> Array:
    """Digests of 32 hexadecimal digits as N×2 uint64."""
    return np.frombuffer(bytes.fromhex("".join(names)), U64).reshape(-1, 2)


def names_of(digests: Array) -> pa.Array:
    """The inverse, as texts of 32 digits each."""
    text = np.ascontiguousarray(digests).tobytes().hex().encode()
    ends = pa.py_buffer(np.arange(0, len(text) + 1, 32, dtype=np.int64))
    return pa.LargeStringArray.from_buffers(len(digests), ends, pa.py_buffer(text))


def rules_for_seeds(job: Job, *, cells: tuple[Sequence[str], ...], with_seeds: bool) -> BlockRules:
    """The rules for the seeds of a job. Kept seeds are scrubbed one by one, once it is known which are shown."""
    scrub = job.scrub if job.scrubs_seeds and not with_seeds else None
    return BlockRules(job.split, job.split.fractions, scrub, cells, with_seeds)
