"""Readers of data sets. Each module reads one kind of data set from its files into `Records`."""
