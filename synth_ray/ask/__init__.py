"""Ask: run each request's recipe against the teachers.

In: requests. Out: answered rows as Arrow batches, per chunk, with every token they cost. Law: a request progresses
alone, so no batch, step or chunk waits for another; each ends as a draft per slot or as failed(reason). Not: whether
an answer is good (check), nor where it is kept (dataset).
"""
