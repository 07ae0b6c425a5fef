"""The embedded demo corpus, made by the stage `synthesize` and described by a ``labels.csv``."""

from pipeline.corpora.entries import Corpus
from pipeline.corpora.parsers import table

CORPUS = Corpus(parse=table.parse, ranges=dict.fromkeys(("arousal", "valence"), (1, 7)))
