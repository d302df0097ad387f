"""Publish: from committed chunks to the Parquet files, manifest, card and report of one version of the dataset.

In: committed chunks, in chunk order. Out: files under the output prefix; the manifest last. Law: the dataset is a function of the
committed chunks and the job; a reader of manifest or card sees one version whole. Not: the verdict on a row (admit), the layout
of a file (dataset).

Public: `publication.Publication`, `manifest_facts.RunFacts`, `publisher.Publisher`, `indexing.open_index`.
"""
