import pytest

from manylabel.train.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (40.4, "40 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (839, "14 min"),
        (99 * 60, "99 min"),
        (12_000, "3 h 20 min"),
        (36_100, "10 h"),
        (300_000, "3 days"),
    ],
)
def test_a_duration_in_words(seconds, words):
    assert in_words(seconds) == words
