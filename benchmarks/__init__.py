"""Measurements that you can repeat. Each prints a table and writes JSON."""
