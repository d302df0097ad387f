"""Route: drive a job from its seeds to its dataset.

In: a job and a `Pool` of workers. Out: the dataset, its manifest, card and report. Law: generated out of order, staged
whole, admitted in chunk order; so the dataset is a function of the staged chunks and the job. Not: where the work
runs; that is the pool's, here threads of this process, in `cluster` Ray actors.
"""
