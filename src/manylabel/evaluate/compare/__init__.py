"""Comparing predictions: paired intervals, and what profiles do otherwise."""
