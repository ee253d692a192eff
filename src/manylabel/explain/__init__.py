"""Explanations: evidence maps, pictures of them, and measures of them.

`attention` computes the maps of any head. `overlay` draws them. `localisation` compares them with
boxes.
"""
