"""One file for each format that `convert` writes; the reader of the same name reads it."""
