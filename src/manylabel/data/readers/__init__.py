"""Readers: one kind of data set a file, each from its files to `Records`."""
