"""Scores of evidence maps against the places of the objects, and against the model itself.

`regions` says where the objects of an image are: in boxes or in a mask. `measures` compares one map
with one region. `removal` looks at what the model says while pixels are removed in the order of a
map. `pairs` walks over a data set and keeps a few numbers for each pair of image and label.
`summary` makes means and intervals of them, and `scoring` joins all of these.
"""
