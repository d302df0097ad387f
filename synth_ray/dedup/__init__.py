"""Dedup: tell whether a row says what another row said.

In: the compared text of rows, straight from Arrow buffers. Out: fingerprints, and for each row the kept row it repeats.
Law: MinHash signatures equal datasketch's bit for bit and only propose; exact Jaccard decides, so precision is 1. Not:
which row is kept (admit decides, in order), nor any file.
"""
