"""Cluster: the worker pool on Ray actors. The only folder that imports ray.

In: a job. Out: the events of `workers.pool`, from replica actors, actors of roles' pools, and stager actors. Law: an actor whose
engine died ends its process, and is replaced a bounded number of times; what actors request, and what of that a cluster lacks,
is told from one description (`wants`); what a row means is never decided here. Not: planning, admission or storage.

Public: `pool.RayPool`, `capacity.missing`, `index.RayShards`, `ray_session.start_ray`, `metrics.RayMetrics`, `internals`.
"""
