"""What `hikaku tune` does to texts: tokens, packed blocks, and the map from tokens back to characters."""
