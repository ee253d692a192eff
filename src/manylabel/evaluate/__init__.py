"""Evaluation: what a bundle's scores on a data set are worth."""
