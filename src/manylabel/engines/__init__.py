"""Engines: what computes a model's logits and evidence maps from prepared pixels.

`engine.py` says what an engine is, without torch; every other file is one engine, and needs what it
computes with. `load.py` chooses by what a model's folder holds.
"""
