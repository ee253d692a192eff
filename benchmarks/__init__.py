"""Measurements that can be run again; each prints a table and writes JSON."""
