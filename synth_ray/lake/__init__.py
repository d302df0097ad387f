"""Lake: registers a published dataset in a table format: Iceberg, Delta Lake, Lance.

In: a manifest, and the store that it describes. Out: one snapshot of the table for each version, which carries the version's
`dataset_digest`. Law: a version is in a table once, whatever was killed and however often it is registered; the Parquet parts and
the manifest remain the truth. Not: publishing; catalogs' credentials, which come from their own environment.

Public: `register.register_version`, `register.register_sinks`, `register.check_sinks`, `register.open_table`.
"""
