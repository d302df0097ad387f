"""Dedup: does a row repeat an earlier one?

In: the compared text of rows, straight from Arrow buffers. Out: fingerprints, and for each row the kept row it repeats. Law:
datasketch defines the signatures and the banding, bit for bit, and they only propose candidates; exact Jaccard similarity
decides, so precision is 1. Not: which row is kept (admit decides, in order), nor any file.

Public: `fingerprint.Fingerprinter`, `index.Index`, `semantic.SemanticIndex`, `decontaminate.QuotedTexts`, `stores.Stores`,
`sharded.ShardedStores`, `spill.stores_on_disk`, `saved_stores`, `neighbours.Neighbours`, `digest_numbers.DigestNumbers`,
`normal_form.words`, `snapshot`.
"""
