"""How a job runs: plan, limits, budget, cluster. Only the plan is part of what models are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from synth_ray.job.section import Section, key


class Plan(Section):
    """How requests are divided into chunks, and how far generation may run ahead of admission."""

    requests: int | None = key(None, "Requests to plan; left out, one per seed.", ge=1, changes="admit")
    seed: int = key(0, "The job's random seed: order of seeds, few-shot choice, sampling seeds.")
    chunk_requests: int = key(1024, "Requests in a chunk, the unit of commit.", ge=1, le=100_000)
    window_chunks: int | None = key(
        None,
        "Most chunks between the next chunk to admit and the newest request; left out, 32, or the chunks of all requests in "
        "flight and queued, whichever is more.",
        ge=1,
        changes="nothing",
    )


class Limits(Section):
    """When one request, or the whole run, is given up."""

    request_deadline_s: float | None = key(
        None,
        "Seconds from a request's start to its end as failed(deadline). Left out, 600, or as much more as its answers may take: "
        "four times max_tokens at the speed that the engine shows; a provider's batch may take its window.",
        gt=0,
        changes="nothing",
    )
    max_failed_share: float = key(
        0.5,
        "Stop early, resumable, when more than this share of the slots fails, and chance cannot explain it: from 20 slots on.",
        gt=0,
        le=1,
        changes="nothing",
    )
    journal_flush_s: float = key(
        20.0,
        "Seconds between writes of the journal of finished asks: the most that a crash loses. 0 keeps no journal.",
        ge=0,
        le=60,
        changes="nothing",
    )
    engine_replacements: int = key(
        3,
        "Most dead engines replaced before the job stops, resumable; deaths while a request that kills engines is being isolated "
        "do not count.",
        ge=0,
        changes="nothing",
    )
    waiting_bytes: int = key(
        1_000_000_000,
        "Most bytes of answers that wait in the driver to be stored; above it, only requests of the oldest chunk are sent.",
        ge=1,
        changes="nothing",
    )


class Budget(Section):
    """What the run may cost. Time is counted per replica, from the beginning of its start-up."""

    gpu_hour_usd: float = key(0.0, "Price of one replica-hour, for the cost in manifest and card.", ge=0, changes="nothing")
    max_usd: float | None = key(None, "Stop cleanly, with a partial manifest, before this is passed.", gt=0, changes="nothing")
    max_seconds: float | None = key(None, "Stop cleanly, with a partial manifest, after this time.", gt=0, changes="nothing")


IN_FLIGHT_PER_SEQUENCE = 4
"""Requests in flight on a replica for each sequence its engine runs at once: one running, one queued in the engine (a step can
finish every running sequence), and two at the worker, to hide the time a message takes.
"""


IN_FLIGHT_PER_POOLED = 2
"""Requests in flight, beside those, for each sequence that a role's pool runs at once: one running and one waiting there."""


class Cluster(Section):
    """Where the work runs. `ray` starts a local Ray by itself unless an address is given."""

    engine: Literal["ray", "local"] = key("ray", "Ray actors, or threads of this process.", changes="nothing")
    address: str = key("", "A Ray cluster to join, as ray.init takes it; empty starts a local one.", changes="nothing")
    teachers: int = key(1, "Most teacher replicas; requests are sent as soon as the first is up.", ge=1, changes="nothing")
    min_teachers: int = key(
        1, "Replicas kept to the end; the others are released once no request is left for them.", ge=1, changes="nothing"
    )
    pools: Literal["shared", "separate"] = key(
        "shared",
        "Where the judge's engine runs: in every teacher replica, on its accelerators (shared), or in a pool of replicas of its "
        "own (separate), which all teacher replicas ask. A judge that is the teacher's own engine stays there.",
        changes="nothing",
    )
    judges: int = key(
        1, "With separate pools, the judge's replicas; with `replicas`, those it starts with.", ge=1, changes="nothing"
    )
    replicas: int | None = key(
        None,
        "With separate pools, the replicas of both together: they are moved between the pools as measured, each keeping one. "
        "`teachers` is then left out. Without it the pools keep their sizes.",
        ge=2,
        changes="nothing",
    )
    stagers: int = key(1, "CPU actors that check, scrub and fingerprint.", ge=1, changes="nothing")
    index_shards: int = key(
        0,
        "Actors that keep the index of kept rows in memory, one per node; 0 keeps it in the driver.",
        ge=0,
        le=1024,
        changes="nothing",
    )
    index_folder: str = key(
        "",
        "Folder for the shards' snapshots, which every node can access; empty uses a folder of this machine.",
        changes="nothing",
    )
    gpus_per_teacher: float | None = key(
        None,
        "GPUs that each teacher actor requests from Ray; left out, what its engines span where the cluster has GPUs. 0 hides "
        "all GPUs from it.",
        ge=0,
        changes="nothing",
    )
    cpus_per_teacher: float = key(1.0, "CPUs that each teacher actor requests from Ray.", ge=0, changes="nothing")
    gpus_per_judge: float | None = key(
        None, "GPUs that each replica of the judge's pool requests, as `gpus_per_teacher`.", ge=0, changes="nothing"
    )
    cpus_per_judge: float = key(1.0, "CPUs that each replica of the judge's pool requests.", ge=0, changes="nothing")
    in_flight: int | None = key(
        None,
        "Requests in flight on one teacher replica; left out, four times what its engine runs at once: max_num_seqs, or as many "
        "sequences of the length observed so far as fit its KV cache.",
        ge=1,
        changes="nothing",
    )
    peak_tflops: float | None = key(
        None, "Peak TFLOP/s of one accelerator, for the roofline; left out, looked up by its name.", gt=0, changes="nothing"
    )
    memory_gb_s: float | None = key(
        None, "Memory bandwidth of one accelerator in GB/s; left out, looked up by its name.", gt=0, changes="nothing"
    )
    object_store_bytes: int = key(300_000_000, "Object store of a local Ray, in bytes.", ge=80_000_000, changes="nothing")

    @model_validator(mode="after")
    def _replicas_are_of_separate_pools(self) -> Cluster:
        if self.replicas is None:
            return self
        if self.pools == "shared":
            raise ValueError("replicas: wanted `pools: separate` to divide replicas between, got shared; set `teachers` instead")
        if self.judges >= self.replicas or "teachers" in self.model_fields_set:
            raise ValueError(
                f"replicas: wanted more than the judge's {self.judges} at the start and the rest for the teacher, got "
                f"{self.replicas} and teachers: {self.teachers}; leave `teachers` out, or `replicas`"
            )
        return self

    @property
    def first_teachers(self) -> int:
        """Teacher replicas at the start, and to the end where the pools keep their sizes."""
        return self.teachers if self.replicas is None else self.replicas - self.judges

    @property
    def all_replicas(self) -> int:
        """Replicas of all pools together."""
        return self.first_teachers + (self.judges if self.pools == "separate" else 0)
