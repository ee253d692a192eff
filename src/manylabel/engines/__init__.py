"""Engines: an engine computes a model's logits and evidence maps from prepared pixels.

`engine.py` defines the interface, without torch. `load.py` chooses the engine for a model's folder.
Each other file is one engine, and imports the framework that it computes with.
"""
