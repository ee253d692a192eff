"""Training without a recipe: a plan that fits the machine and the data, and its best model.

`train_best` is the whole thing: it looks at the machine and the data, times a few batches, trains
the chosen ways, hands over the best by validation, and tunes its thresholds. Its parts:

    survey.py     the machine and the data set, in numbers
    ways.py       the ways to train: a recipe each
    timing.py     what reading, the backbone and each head take here, from a few batches
    plan.py       what each way would take, and which are chosen; nothing is measured here
    compare.py    which way is better on validation by more than chance
    run.py        `train_best`
"""
