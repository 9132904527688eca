"""Texts in: documents from files or from the shipped samples, split, tokenised and packed."""
