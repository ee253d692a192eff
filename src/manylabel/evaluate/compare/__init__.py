"""Compares predictions: paired intervals of two models, and the differences between profiles."""
