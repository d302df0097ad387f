"""Drive: the driver's loop, from planned requests to committed chunks.

In: a schedule of chunks and a `Pool` of workers. Out: committed chunks, handed to `admit` in chunk order. Law: a request is in
flight on one replica, or queued, or isolated as a suspect; at most `plan.window_chunks` chunks lie between the admission frontier
(the next chunk to admit) and the newest request; a request that kills engines is found and ends as failed. Scheduling decides
speed, never a row. Not: planning, asking, staging, admission; it only says who does what next.

Where a role has a pool of its own, replicas move between the pools as measured, if the job says so (`role_pools`, `pool_sizer`).

Public: `driver.Driver`, `dispatch.Dispatcher`, `window.Window`, `failed_share.FailedShare`.
"""
