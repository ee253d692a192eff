"""What readers, writers and predictions share: text, tables, Arrow, shards, MATLAB, JSON truth."""
