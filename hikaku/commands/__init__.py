"""What a person can ask for: one file a command, and what two of them share."""
