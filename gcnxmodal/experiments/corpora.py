"""The corpus an experiment asks for."""

import dataclasses

from gcnxmodal.corpus import Corpus
from gcnxmodal.data import LOADERS
from gcnxmodal.data.cache import cache_dir
from gcnxmodal.experiments.config import DataConfig, TextConfig
from gcnxmodal.text.tokens import Tokenizer

VALIDATION_SEED = 0  # the held-out part of the training set is the same for every seed of an experiment


def load_corpus(data: DataConfig, text: TextConfig) -> Corpus:
    """Read the data set; with `data.validation`, a held-out part of its training items is the test split.

    Raises:
        InputError: for every fault of the data, naming file, field and fix.
    """
    corpus = LOADERS[data.name](
        data.root,
        words=text.words,
        tokenizer=Tokenizer(stop_words=text.stop_words, lemmatise=text.lemmatise, segmenter=text.segmenter),
        image_feature=data.image_feature,
        resolution=data.resolution,
        cache_dir=cache_dir(),
    )
    if not data.validation:
        return corpus
    source = f"{corpus.provenance['source']} (validation: {data.validation:.0%} of the training items)"
    corpus = corpus.validation(data.validation, VALIDATION_SEED)
    return dataclasses.replace(corpus, provenance={**corpus.provenance, "source": source})
