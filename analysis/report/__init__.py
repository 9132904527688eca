"""The report: findings put into sections, tables and figures, written as Markdown, HTML and JSON."""
