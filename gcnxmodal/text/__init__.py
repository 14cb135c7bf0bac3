"""Texts as words: tokens, vocabulary, word vectors."""
