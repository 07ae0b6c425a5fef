"""The embedded demo corpus, made by the stage `synthesize` and described by a ``labels.csv``."""

from pipeline.corpora.parsers import table

CORPUS = table.CORPUS
