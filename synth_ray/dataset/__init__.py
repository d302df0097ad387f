"""Dataset: chunks in, a dataset out, on any store.

In: staged chunks, then admitted rows in admission order. Out: commit records, Parquet parts, `manifest.json` and the
card. Law: the dataset is a function of the staged chunks and the job; a committed chunk is never made twice and an
uncommitted one never shows; a reader of manifest or card sees one version whole. Not: which rows are accepted.
"""
