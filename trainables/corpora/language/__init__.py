"""What is particular to a language: scripts, Sudachi's words, complexity."""
