"""Drawn scenes: a synthetic multi-label data set with known boxes, generated from a table of rules.

The modules, in the order in which a scene is made:

    rules      the table: how often a label occurs, with which other label, where and how large
    scene      a scene as data: items from back to front, not yet drawn
    shapes     how each object is drawn
    layout     `sample_scene`: samples the labels and places the objects
    picture    `render_scene`: draws a scene and finds the visible part of each object
    folder     `draw_scenes`: writes a folder in COCO's format

A scene depends on (seed, split, index) only, so any number of workers gives the same bytes.
docs/drawn-scenes.md says how fair the task is.
"""

from manylabel.data.synthetic.folder import COUNTS, draw_scenes, scenes_are_drawn
from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.picture import Drawing, contact_sheet, render_scene
from manylabel.data.synthetic.rules import (
    LABELS,
    RULES,
    STANDARD,
    Distance,
    LabelRule,
    Relations,
)
from manylabel.data.synthetic.scene import Item, Scene

__all__ = [
    "COUNTS",
    "LABELS",
    "RULES",
    "STANDARD",
    "Distance",
    "Drawing",
    "Item",
    "LabelRule",
    "Relations",
    "Scene",
    "contact_sheet",
    "draw_scenes",
    "render_scene",
    "sample_scene",
    "scenes_are_drawn",
]
