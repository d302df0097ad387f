"""Workers: the seam to the workers, the work of one CPU worker, and the pool on threads.

In: requests for a replica; a chunk's answers for a stager. Out: events (`pool.Event`): answered rows, committed chunks, losses.
Law: a call never waits, news comes as events; every row is checked, scrubbed and fingerprinted before it is staged.
Not: which request goes where (drive); where Ray places a worker (cluster).

Public: `pool.Pool` and its events, `local_pool.LocalPool`, `stager.Stager`, `row_stages.RowStages`, `prefetch.prefetched`,
`restaging.restaged_chunks`.
"""
