"""Ask: run each request's recipe against the teachers.

In: requests. Out: answered rows as Arrow batches, per chunk, with every token they cost. Law: requests progress independently, so
no batch, step or chunk waits for another; each ends as one draft per slot or as failed(reason). Not: whether an answer is good
(check), nor where it is stored (dataset).

Public: `asker.Asker`, `worker.AskWorker`, `journal.Journal`, `engines.open_engines`, `teacher.Teacher`.
"""
