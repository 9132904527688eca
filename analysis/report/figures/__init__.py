"""The report's pictures, one file for each family; `palette` holds what they share."""
