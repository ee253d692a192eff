"""Splits: given by the data set, drawn by a hash, or stratified; and how much they differ."""
