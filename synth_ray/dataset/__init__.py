"""Dataset: from chunks to a published dataset, on any store.

In: staged chunks, then admitted rows in admission order. Out: commit records, Parquet part files, `manifest.json`, and made of
it the card and `croissant.json`. Law: the dataset is a function of the staged chunks and the job; a committed chunk is never
made again, and an uncommitted one is never visible; a reader of the manifest or the card sees one complete version. Not: which
rows are accepted.

Public: `ledger.Ledger`, `ledger.Commit`, `lease.Lease`, `writer.DatasetWriter`, `manifest.Manifest`, `card.write_card`,
`croissant.write_croissant`, `hub_push.push_dataset`, `formats.FORMATS`, `export.export_dataset`, `garbage.garbage`,
`registrations.write_down`, `trace.trace`, `output_status.read_status`, `examples.read_examples`.
"""
