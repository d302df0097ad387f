"""How a job runs: plan, limits, budget, cluster. Only the plan is part of what models are asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from synth_ray.job.section import OneOrMore, Section, key

LabelChoices = Annotated[list[dict[str, str]], OneOrMore]
"""Labels that a node must have, as Ray's label selectors take them; with several, the first is preferred."""


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
    parts: int = key(
        1,
        "Drivers that ask and stage side by side, each a part of the chunks, where one cannot carry the job; one driver then "
        "admits everything. Replicas and budget are divided among them.",
        ge=1,
        le=1024,
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
    checkpoint_requests: int = key(
        131_072,
        "Requests between two checkpoints of admission: a run that goes on decides again only what came after the last one. "
        "Files of the dataset are cut there too, once they have 8 MiB. 0 takes none.",
        ge=0,
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
    stall_s: float | None = key(
        None,
        "Seconds in which nothing was answered, staged or admitted though replicas or stagers have work: then those that have it "
        "are replaced, and if that does not help, the run stops, resumable. Left out, 1800, or one and a half times as long as "
        "one request may take, or as long as a chunk's checks and scrub may take while one is staged. 0 waits for ever.",
        ge=0,
        changes="nothing",
    )
    memory_bytes: int | None = key(
        None,
        "Most memory of the driver's process, without mapped files; above it the run stops, resumable, and so it does where all "
        "that runs on the machine or in the container leaves less than 5 %. Left out, 90 % of what there is. 0 sets no limit.",
        ge=0,
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
    priority: int = key(
        0,
        "Where jobs on one cluster want more accelerators than it has: those of higher priority get theirs first, those of the "
        "same priority equal shares. A running job keeps one replica.",
        ge=-1000,
        le=1000,
        changes="nothing",
    )
    stagers: int = key(1, "CPU actors that check, scrub and fingerprint.", ge=1, changes="nothing")
    index_shards: int = key(
        0,
        "Actors that keep what is remembered of the kept rows, one per node; 0 keeps it in the driver.",
        ge=0,
        le=1024,
        changes="nothing",
    )
    index_folder: str = key(
        "",
        "Folder in which the shards save what they hold, which every node can access; empty uses a folder of this machine.",
        changes="nothing",
    )
    gpus_per_teacher: float | None = key(
        None,
        "GPUs that each teacher actor requests from Ray; left out, what its engines span where the cluster has GPUs or an "
        "autoscaler that may bring some, or, at an address, where the installed vLLM is not built for CPUs. Below 1, "
        "replicas share a GPU, each with its part of the memory. 0 hides all GPUs from it.",
        ge=0,
        changes="nothing",
    )
    cpus_per_teacher: float = key(1.0, "CPUs that each teacher actor requests from Ray.", ge=0, changes="nothing")
    gpus_per_judge: float | None = key(
        None, "GPUs that each replica of the judge's pool requests, as `gpus_per_teacher`.", ge=0, changes="nothing"
    )
    cpus_per_judge: float = key(1.0, "CPUs that each replica of the judge's pool requests.", ge=0, changes="nothing")
    teacher_labels: LabelChoices = key(
        list,
        "Labels of the nodes that teachers run on, as {market: spot}; values as Ray's label selectors take them (`!spot`, "
        "`in(a, b)`). Of a list, the first whose nodes have room is taken.",
        changes="nothing",
    )
    judge_labels: LabelChoices = key(
        list, "Labels of the nodes that the judge's pool runs on, as `teacher_labels`.", changes="nothing"
    )
    stager_labels: LabelChoices = key(list, "Labels of the nodes that stagers run on, as `teacher_labels`.", changes="nothing")
    on_head: bool = key(
        False,
        "Run actors on the head node as well. Otherwise they run there only where the other nodes cannot hold the run.",
        changes="nothing",
    )
    most_gpus: float | None = key(
        None,
        "Most GPUs that the cluster's autoscaler may bring it to, for what is said before the start; left out, as far as Ray "
        "tells.",
        ge=0,
        changes="nothing",
    )
    wait_s: float | None = key(
        None,
        "Seconds that the first teacher may wait for a place on the cluster, then the run stops, resumable; left out, as long as "
        "it takes.",
        gt=0,
        changes="nothing",
    )
    compile_cache: str = key(
        "",
        "A folder that every node sees, or a store's prefix: compiled graphs of the first start of an engine, for the starts on "
        "other nodes. Who may write there may run code in the engines. Empty keeps them on each node.",
        changes="nothing",
    )
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
