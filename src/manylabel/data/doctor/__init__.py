"""The data doctor: what is wrong with a data set, found before it is trained on.

`check.py` is the story. `look.py` opens every image once and keeps a few hundred bytes of it;
`similar.py` finds pictures that look alike in those; `images.py`, `duplicates.py`, `labels.py` and
`unknowns.py` turn what is known into findings (`findings.py`); `page.py` shows them.
"""
