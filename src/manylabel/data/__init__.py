"""Data sets: readers, splits, checks, drawn scenes, augmentation and loaders."""
