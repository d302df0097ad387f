"""Refuses jobs whose own numbers would make them wait, before anything is asked."""

from __future__ import annotations

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.running import IN_FLIGHT_PER_POOLED, IN_FLIGHT_PER_SEQUENCE


def refuse_short_lag(job: Job) -> None:
    """Raises JobError where the lag holds fewer requests than the replicas can have in flight: they would starve."""
    if not job.target.is_set:
        return
    per_replica = job.cluster.in_flight or IN_FLIGHT_PER_SEQUENCE * job.models.teacher.max_running
    teachers, lag, size = job.cluster.first_teachers, job.target.lag, job.plan.chunk_requests
    in_flight = per_replica * teachers
    if not job.cluster.in_flight:
        in_flight += sum(IN_FLIGHT_PER_POOLED * job.cluster.judges * model.max_running for model in job.pooled_models.values())
    if lag * size < in_flight:
        raise JobError(
            f"target.lag: wanted a lag of at least the {in_flight:,} requests that {teachers} replicas hold, "
            f"got {lag} chunks of {size:,}; set target.lag: {-(-in_flight // size)}, or larger chunks, or cluster.in_flight"
        )


def refuse_slow_batches(job: Job, *, requests: int) -> None:
    """Raises JobError where requests may not take as long as a provider's batch (up to a day), or where `requests` would take too
    many batches one after the other.
    """
    sections = [model.batch for model in job.models.by_role().values() if model.batch is not None]
    if not sections:
        return
    longest = 3600 * max(section.window_hours for section in sections)
    if job.limits.request_deadline_s is not None and job.limits.request_deadline_s < longest:
        raise JobError(
            f"limits.request_deadline_s: wanted at least the {longest:,} s a batch may take, times the steps of the recipe, got "
            f"{job.limits.request_deadline_s:,.0f}; set it so, or leave it out"
        )
    _refuse_several_senders(job)
    ahead, max_rounds = job.target.lag * job.plan.chunk_requests, min(section.max_rounds for section in sections)
    rounds = -(-requests // ahead)
    if job.target.is_set and rounds > max_rounds:
        raise JobError(
            f"target.lag: wanted at most {max_rounds} batches one after the other (models.teacher.batch.max_rounds), got "
            f"{rounds}: each waits for rows that {ahead:,} requests earlier were admitted; set target.lag: "
            f"{-(-requests // (max_rounds * job.plan.chunk_requests))}, or leave the target out"
        )


def _refuse_several_senders(job: Job) -> None:
    """Raises JobError where several replicas would each fill batches of their own."""
    cluster = job.cluster
    pooled = any(model.batch is not None for model in job.pooled_models.values())
    if pooled and (cluster.judges != 1 or cluster.replicas is not None):
        raise JobError(
            f"cluster.judges: wanted one replica to send a provider's batches, got {cluster.replicas or cluster.judges}; set "
            "judges: 1, and leave cluster.replicas out"
        )
    if any(model.batch is not None for model in job.replica_models.values()) and cluster.first_teachers != 1:
        raise JobError(
            f"cluster.teachers: wanted one replica to send a provider's batches, got {cluster.first_teachers}; set teachers: 1"
        )
