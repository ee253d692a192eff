"""Predictions as files: reading, writing, saving, scoring."""
