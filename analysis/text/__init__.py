"""Every text that a reader sees, a folder a language, and how it is looked up."""
