"""What `hikaku prepare` does: texts of any kind become one clean folder with a card."""
