"""Which step is handed over, by cases made by hand."""

import pytest

from manylabel.train.hand_over import choose_step, describe_choice


def results(*values):
    return [{"kind": f"kind{i}", "val_mAP": value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((0.781, 0.6, 0.75, 0.748), 0),
        ((0.1, 0.2), 1),
        ((0.5,), 0),
        ((0.5, 0.5), 1),  # of equal steps the later one
        ((0.5, None), 1),  # the last cannot be compared
        ((None, 0.4, 0.3), 1),
        ((None, None), 1),
    ],
)
def test_the_best_step_by_validation_is_chosen_and_last_is_always_the_last(values, best):
    assert choose_step(results(*values), "best") == best
    assert choose_step(results(*values), "last") == len(values) - 1


def test_steps_of_an_earlier_version_have_no_figure():
    assert choose_step([{"kind": "main"}, {"kind": "joint"}], "best") == 1


def test_a_worse_last_step_is_said_with_its_bundle_and_both_figures():
    (line,) = describe_choice(results(0.781, 0.748), 0, ["steps/1-a", "steps/2-b"])
    for part in ("step 1 of the run (kind0)", "step 2 (kind1)", "78.1", "74.8", "steps/2-b"):
        assert part in line


def test_a_recipe_that_hands_over_the_last_is_told_where_the_better_one_lies():
    (line,) = describe_choice(results(0.781, 0.748), 1, ["steps/1-a", "steps/2-b"])
    assert "hand_over = 'last'" in line
    assert "steps/1-a" in line


def test_nothing_is_said_if_the_last_is_the_best():
    assert describe_choice(results(0.1, 0.2), 1, ["a", "b"]) == []
    assert describe_choice(results(0.3), 0, ["a"]) == []
