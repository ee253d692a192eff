"""What feeds a model: checked images, caches, random views, orders, batches."""
