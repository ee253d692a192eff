"""Labels a folder of photographs from some examples: train, tune, predict, and what to check.

`label_folder` is the whole thing. Its parts:

    examples.py   tables of examples, matched with photographs and merged
    doubt.py      the photographs that the model is least sure of
    tables.py     labels.csv, check.csv and examples.csv
    page.py       check.html, where a person corrects the least sure ones
    kept.py       what an earlier run left in the folder, and what a person changed there
    run.py        `label_folder`
"""
