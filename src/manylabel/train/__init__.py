"""Training: recipes, SRN's four steps, the loop, and what a run leaves behind."""
