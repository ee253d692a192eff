"""The report of predictions: one HTML page about one model or two."""
