"""Text as a signal on a word graph: tokens, vocabulary, word vectors, nearest neighbours, graph."""
