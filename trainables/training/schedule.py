"""The learning rate of every step, as a factor of the highest one."""

import math

from trainables.config import Schedule


def learning_rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the learning rate of `step` (0 is the first of `steps`) over the highest.

    Warm-up rises as (step + 1) / (warm-up steps + 1), so no step trains at rate 0 and the step after warm-up is the first at
    the highest rate. Cosine is Loshchilov & Hutter 2017, eq. 5, without restarts; warmup_stable_decay is Hu et al. 2024
    (MiniCPM), decaying linearly. Nothing falls below the floor.
    """
    warmup = warmup_steps(schedule, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    floor = schedule.floor_share
    # From 0 at the first step after warm-up to nearly 1 at the last: a step beyond would have the floor's own rate.
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    if schedule.shape == "constant":
        return 1.0
    if schedule.shape == "linear":
        return floor + (1 - floor) * (1 - progress)
    if schedule.shape == "cosine":
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
    decay = max(1.0, schedule.decay_share * steps)  # steps, at least one
    return floor + (1 - floor) * min(1.0, max(0.0, (steps - step) / decay))


def warmup_steps(schedule: Schedule, steps: int) -> int:
    """Return how many of `steps` warm up."""
    return round(schedule.warmup_share * steps)
