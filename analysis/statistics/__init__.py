"""Numbers of a study: differences and their intervals, fronts, importance, sensitivity, prices. No words."""
