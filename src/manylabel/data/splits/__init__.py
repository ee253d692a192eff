"""Splits: given, drawn, stratified; and how far they drift apart."""
