"""The embedded demo corpus, made by the stage `synthesize` and described by a ``labels.csv``."""

from pipeline.corpora import table

CORPUS = table.CORPUS
