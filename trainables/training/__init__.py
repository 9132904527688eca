"""The training step: engine, checkpoints, schedule, order of the data, and the meters."""
