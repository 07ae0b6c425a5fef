"""EmoDB's release 2 with its 281 ambiguous utterances: 816 in all."""

from functools import partial

from pipeline.corpora.entries import Corpus
from pipeline.corpora.parsers import emodb

CORPUS = Corpus(parse=partial(emodb.parse, ambiguous=True), folds=emodb.CORPUS.folds)
