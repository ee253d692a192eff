"""Where a classifier saw what it says: maps, pictures of them, and how often they are right.

`attention` gives every head's maps, `cam` class activation maps, `overlay` draws, `localisation`
scores maps against boxes.
"""
