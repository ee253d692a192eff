"""One file a format that `manylabel.data.convert` writes; the reader of its name reads it."""
