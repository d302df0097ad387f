"""Cluster: the worker pool on Ray actors. The only folder that imports ray.

In: a job. Out: the events of `workers.pool`, from replica actors, actors of roles' pools, and stager actors. Law: an actor whose
engine died ends its process, and is replaced a bounded number of times; what a row means is never decided here. Not: planning,
admission or storage.

Public: `pool.RayPool`, `index.RayShards`, `ray_session.start_ray`, `internals`.
"""
