"""Review: people look at a random part of the rows, and what they find is used.

In: a published dataset; files of verdicts. Out: a stratified sample as a form for people; the accept rate with its interval, the
agreement between reviewers and with the judge, gold rows for the judge, and the ids of rejected rows. Law: the sample depends on
the rows alone; every estimate weighs a row by how many it stands for. Not: changing a dataset, which is what `curate` does.

Public: `draw.draw`, `forms.write_form`, `verdicts.read_verdicts`, `verdicts.rejected_ids`, `estimates.accept_rate`.
"""
