"""Batches: one teacher for the batch APIs of several providers, over one contract.

In: asks, one at a time. Out: completions, whenever the batch that holds them has ended. Law: an ask is paid for at most once, as
surely as its provider lets a batch be found again (`contract.BatchProvider`); what a provider cannot do is refused by name, never
left out. Not: when an ask is due (drive), what an answer is worth (check).

Public: `teacher.BatchApiTeacher`, `providers.refuse_unfit`.
"""
