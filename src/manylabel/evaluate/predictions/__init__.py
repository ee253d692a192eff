"""Files of predictions: reading, writing and measuring them."""
