"""The report of predictions: one HTML file to sort, to try thresholds in, and to look at."""
