"""What `manylabel.files` is built of: how a reader, or a kill, finds the old or the new, whole.

`exchange.py` exchanges two folders in one step. `placing.py` moves new files and folders to their
places and keeps a journal, so that a move that was cut short can be undone. `unfinished.py` gives
the temporary names, and removes what writers that were killed left behind.
"""
