"""A run's page: one HTML file that tells what a run did and what came of it."""
