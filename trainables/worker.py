"""One worker of one trial: the loop that trains, measures and reports. It knows neither Ray nor MLflow.

A worker runs a trial handed to it and leaves the process as it found it, so that another trial can follow.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hikaku.record import CHECKPOINTS_FOLDER, CurvePoint, Outcome, Result, RungReport, load_result, save_result, write_atomically
from trainables.checkpoint import Checkpoint, Checkpoints, Progress, random_state, restore_random_state
from trainables.config import TrialConfig
from trainables.data_order import DataOrder, derive_seed
from trainables.engine import Engine, Step, barrier, broadcast_flag, join_group
from trainables.measuring import Measurement, built_facts, convergence, export_weights, is_out_of_memory, measure, own_random_state
from trainables.model import load_model

CONFIG_FILE = "config.json"
CHECKPOINT_SECONDS = 300.0  # between two checkpoints where no rung comes sooner

Report = Callable[[RungReport], bool]


def run_trial(config: TrialConfig, report: Report) -> Result:
    """Train a trial to its end and return what happened; also written to `result.json` of its folder.

    `report` is called on rank 0 at every rung and answers whether to go on. A trial that was interrupted is taken up at its
    newest complete checkpoint, and its last report is made again. Raises ValueError where the checkpoint cannot be resumed.
    """
