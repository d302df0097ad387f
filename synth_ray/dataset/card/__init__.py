"""The dataset card, `README.md`: for people, and for the `datasets` library, which finds the files by the YAML header.

In: a manifest, and the example rows beside it. Out: Markdown with the metadata of the Hugging Face Hub. Law: every sentence
follows from the manifest or the examples; no text of a row can be taken for Markdown or HTML; the card lists the files of one
version. Not: measuring anything; choosing the examples.

Public: `write_card`, `write_unfinished_card`, `card_bytes`, `PATH`, `licence.licence_url`.
"""

from synth_ray.dataset.card.write import PATH, card_bytes, write_card, write_unfinished_card

__all__ = ["PATH", "card_bytes", "write_card", "write_unfinished_card"]
