"""View: the rows of a published dataset, for people, in a browser of this machine.

In: a manifest, the storage it is in, and queries as URL parameters. Out: rows, counts and the values to choose from, as JSON on
127.0.0.1. Law: of the dataset only files that the manifest lists are read; every row is on exactly one page; no text of a URL
becomes SQL; an answer goes only to who has the address with its token. Not: writing anything; measuring the dataset (report).

Public: `rows.Rows`, `rows.open_rows`, `query.Query`, `server.ViewServer`.
"""
