"""Ask: run each request's recipe against the teachers.

In: requests. Out: answered rows as Arrow batches, per chunk, with every token they cost. Law: requests progress independently, so
no batch, step or chunk waits for another; each ends as one draft per slot or as failed(reason). Not: whether an answer is good
(check), nor where it is stored (dataset).

A role may have a pool of replicas instead of an engine here: `pooled_teacher` asks it, over a `role_link`, of a `role_server`.

Public: `asker.Asker`, `worker.AskWorker`, `pooled_teacher.PooledTeacher`, `role_link.RoleLink`,
`role_server.RoleServer`, `journal.Journal`, `engines.open_engines`, `teacher.Teacher`.
"""
