"""The report's sections, in files by what they speak of. Each function returns a section, or None where there is nothing to say."""
