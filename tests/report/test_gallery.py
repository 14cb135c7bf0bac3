import dataclasses

import numpy as np
from made_up_run import make_corpus, make_gallery

from gcnxmodal.report.gallery import build_gallery, choose_queries


def test_a_hit_is_right_if_it_shares_a_class_and_marked_if_it_is_the_own_pair():
    labels = np.zeros((80, 3), bool)
    labels[np.arange(80), np.arange(80) % 3] = True
    labels[:, 2] |= np.arange(80) % 2 == 0  # some items have two classes
    corpus = make_corpus(tuple(f"text {i}" for i in range(80)), labels, ("a", "b", "c"), None)
    test = corpus.splits["test"]
    images = np.stack([np.roll(test, -shift) for shift in range(4)], axis=1)  # the own pair comes first
    gallery = build_gallery(corpus, test, images, images[:, ::-1])
    row_of = {text: row for row, text in enumerate(corpus.texts)}
    for query in (*gallery.text_queries, *gallery.image_queries):
        asked = row_of[query.item.text]
        for hit in query.hits:
            found = row_of[hit.item.text]
            assert hit.relevant == bool(
                set(np.flatnonzero(labels[asked])) & set(np.flatnonzero(labels[found]))
            )
            assert hit.own == (asked == found)
    assert [hit.own for hit in gallery.text_queries[0].hits] == [True, False, False, False]
    assert [hit.own for hit in gallery.image_queries[0].hits] == [False, False, False, True]


def test_queries_are_seeded_and_of_as_many_classes_as_there_are(emoji_corpus):
    shown = [query.item for query in make_gallery(emoji_corpus, seed=3).text_queries]
    assert shown == [query.item for query in make_gallery(emoji_corpus, seed=3).image_queries]
    assert shown != [query.item for query in make_gallery(emoji_corpus, seed=4).text_queries]
    assert len({item.classes for item in shown}) == len(shown) == 6


def test_texts_without_a_known_word_are_not_shown_where_there_are_others(wiki_corpus):
    test = wiki_corpus.splits["test"]
    counts = wiki_corpus.counts.tolil()
    counts[test[1:]] = 0
    bare = dataclasses.replace(wiki_corpus, counts=counts.tocsr())
    assert choose_queries(bare, seed=0, count=1000).tolist() == [test[0]]
    counts[test[0]] = 0
    bare = dataclasses.replace(wiki_corpus, counts=counts.tocsr())
    assert len(choose_queries(bare, seed=0, count=1000)) == len(test)


def test_a_small_test_split_is_shown_whole(wiki_corpus):
    test = wiki_corpus.splits["test"]
    queries = choose_queries(wiki_corpus, seed=0, count=1000)
    assert sorted(queries) == sorted(test)
    found = np.tile(test[:5], (len(queries), 1))
    gallery = build_gallery(wiki_corpus, queries, found, found)
    assert len(gallery.text_queries) == len(test)
    assert gallery.without_pictures
