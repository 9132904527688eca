"""The study: its file read and checked, its plan, its identity, its folder."""
