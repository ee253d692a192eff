"""The page of a run: one HTML file with the run's settings and results."""
