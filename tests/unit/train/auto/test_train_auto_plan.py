"""The plan's arithmetic, on machines and data sets that are only numbers."""

import pytest

from manylabel.train.auto.plan import make_plan, table
from manylabel.train.auto.survey import Machine, Survey
from manylabel.train.auto.timing import Timings
from manylabel.train.auto.ways import ATTENTION, LINEAR, MODERN, WAYS, WHOLE, Choices

LAPTOP = Machine("cpu", "2 processors, no GPU", 2, memory=8 * 10**9, disk=50 * 10**9)
SECONDS = {"linear": 1e-4, "srn-att": 1e-3, "srn-modern": 4e-3, "fine-tuned": 0.1}
TIMINGS = Timings(0.01, 0.02, SECONDS, map_bytes=169_344, pooled_bytes=2_562)


@pytest.fixture(scope="module")
def recipes():
    return {way: Choices().recipe(way) for way in WAYS}


def data(images):
    return Survey({"train": images * 7 // 10, "val": images // 10, "test": images // 5}, labels=20)


def chosen(plan):
    return [choice.way for choice in plan.chosen]


def test_fifty_images_are_too_few_to_compare_ways_so_the_floor_alone_is_trained(recipes):
    plan = make_plan(LAPTOP, data(50), TIMINGS, recipes)
    assert chosen(plan) == [LINEAR]
    assert (plan.storage, plan.mirrored) == ("memory", True)
    assert plan.seconds < 30
    assert "val has fewer than 20 images" in plan.choices[1].why


def test_a_few_hundred_images_leave_time_for_every_way(recipes):
    plan = make_plan(LAPTOP, data(200), TIMINGS, recipes)
    assert chosen(plan) == [LINEAR, MODERN, ATTENTION, WHOLE]
    assert plan.seconds < 300


def test_two_thousand_photographs_stay_below_five_minutes_on_two_processors(recipes):
    plan = make_plan(LAPTOP, data(2000), TIMINGS, recipes)
    assert chosen(plan) == [LINEAR, MODERN, ATTENTION]
    assert plan.seconds <= 300 == 60 * plan.minutes
    # By hand: 2,000 + 1,400 views of 20 ms, and 2,000 images read in 10 ms by two processors.
    assert plan.map_seconds == pytest.approx(3400 * 0.02 + 2000 * 0.01 / 2)


def test_two_hundred_thousand_images_have_a_plan_that_fits(recipes):
    small = Machine("cpu", "2 processors, no GPU", 2, memory=8 * 10**9, disk=20 * 10**9)
    plan = make_plan(small, data(200_000), TIMINGS, recipes)
    assert chosen(plan) == [LINEAR], "the others need whole maps, or days"
    assert (plan.storage, plan.mirrored) == ("pooled", False)
    assert plan.map_bytes == 200_000 * 2_562 < 0.4 * small.memory
    assert all(choice.why for choice in plan.choices)


def test_maps_are_pooled_if_the_disk_has_room_but_nothing_that_is_chosen_reads_whole_ones(recipes):
    large = Machine("cpu", "2 processors, no GPU", 2, memory=8 * 10**9, disk=10**12)
    slow = {**SECONDS, "srn-att": 0.1, "srn-modern": 0.1}
    timings = Timings(0.01, 0.02, slow, map_bytes=169_344, pooled_bytes=2_562)
    plan = make_plan(large, data(200_000), timings, recipes)
    assert (chosen(plan), plan.storage) == ([LINEAR], "pooled")


def test_maps_go_to_the_disk_where_memory_is_short_and_disk_is_not(recipes):
    plan = make_plan(LAPTOP, data(30_000), TIMINGS, recipes, minutes=10_000)
    assert plan.storage == "disk"
    assert plan.map_bytes == 30_000 * 169_344, "more than 10,000 training images: no mirror images"
    assert set(chosen(plan)) == set(WAYS)
    assert all(choice.memory == 0 for choice in plan.choices)


def test_the_plan_never_exceeds_the_minutes_but_for_its_floor(recipes):
    for minutes in (1e-6, 1, 2, 3, 5, 60):
        plan = make_plan(LAPTOP, data(2000), TIMINGS, recipes, minutes=minutes)
        assert LINEAR in chosen(plan)
        assert plan.seconds <= 60 * minutes or chosen(plan) == [LINEAR]


def test_a_gpu_has_time_for_fine_tuning(recipes):
    gpu = Machine("cuda", "a GPU", 16, memory=100 * 10**9, disk=100 * 10**9)
    fast = Timings(0.01, 5e-4, {name: each / 40 for name, each in SECONDS.items()}, 169_344, 2_562)
    assert WHOLE in chosen(make_plan(gpu, data(2000), fast, recipes))


def test_the_table_says_what_how_long_and_chosen(recipes):
    plan = make_plan(LAPTOP, data(2000), TIMINGS, recipes)
    lines = table(plan)
    assert lines[0].split() == ["what", "how", "long", "chosen"]
    rows = {line.split(":")[0]: line for line in lines}
    for choice in plan.choices:
        assert f"  {'yes' if choice.chosen else 'no'}  " in rows[choice.way.name]
    assert "together" in lines[-1]
    assert "5 min" in lines[-1]
