"""What relations between labels bring: a ceiling, a dial and controls."""
