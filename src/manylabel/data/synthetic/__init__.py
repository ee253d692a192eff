"""Drawn scenes: a synthetic multi-label data set with known boxes, made from a declared table.

In the order in which it is made:

    rules      the table: how often a label comes, with what, where and how large
    scene      what a scene is: items from back to front, and nothing drawn yet
    shapes     how each thing is drawn, alone
    layout     `sample_scene`: tosses the labels and lays the objects out
    picture    `render_scene`: draws a scene and finds the visible part of each object
    folder     `draw_scenes`: writes a folder in COCO's format

A scene depends on (seed, split, index) alone, so any number of workers draws the same bytes.
docs/drawn-scenes.md tells how fair a task it is.
"""

from manylabel.data.synthetic.folder import COUNTS, draw_scenes, scenes_are_drawn
from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.picture import Drawing, contact_sheet, render_scene
from manylabel.data.synthetic.rules import LABELS, RULES, LabelRule
from manylabel.data.synthetic.scene import Item, Scene

__all__ = [
    "COUNTS",
    "LABELS",
    "RULES",
    "Drawing",
    "Item",
    "LabelRule",
    "Scene",
    "contact_sheet",
    "draw_scenes",
    "render_scene",
    "sample_scene",
    "scenes_are_drawn",
]
