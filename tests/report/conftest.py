import made_up_run
import pytest

from gcnxmodal.corpus import Corpus


@pytest.fixture(scope="session")
def emoji_corpus() -> Corpus:
    return made_up_run.make_emoji_corpus()


@pytest.fixture(scope="session")
def wiki_corpus() -> Corpus:
    return made_up_run.make_wiki_corpus()
