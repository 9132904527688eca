"""Every text that a reader sees, one YAML file a language, and how it is looked up."""
