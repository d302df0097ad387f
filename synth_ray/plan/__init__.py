"""Plan: from files of seeds to numbered requests in numbered chunks.

In: sources and a recipe. Out: seeds, rejected seeds with file and line, and the requests of any chunk. Law: rows read = seeds +
rejected seeds; the same job plans the same chunks. Not: opening a store (the caller passes `open_file`), asking.

Public: `seeds.read_seeds`, `seed_store.SeedStore`, `rows.is_data`, `chunks.Planner`, `growth.GrownPlan`, `quotas.Quotas`,
`cells.Cells`, `splits.split_of`.
"""
