"""Cluster: the route's pool on Ray actors. The only folder that imports ray.

In: a job. Out: events from teacher actors and stager actors. Law: an actor whose engine died ends its process, and is
replaced a bounded number of times; nothing of the route's meaning lives here. Not: planning, admission or storage.
"""
