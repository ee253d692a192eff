"""Evaluation: measures of scores on a data set, tuning, comparisons and reports."""
