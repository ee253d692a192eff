"""The data doctor: finds problems of a data set before training.

Start with `check.py`, which runs all checks. `look.py` opens every image once and keeps a few
hundred bytes of it. From these bytes, `similar.py` finds images that look alike. `images.py`,
`duplicates.py`, `labels.py` and `unknowns.py` make the findings (`findings.py`), and `page.py`
shows them.
"""
