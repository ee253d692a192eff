"""Formats that readers, writers and predictions share: text, tables, Arrow, tar, MATLAB, JSON."""
