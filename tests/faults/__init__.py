"""Long scripts that damage a study or take its disk away; `make faults` runs them, each prints one JSON line."""
