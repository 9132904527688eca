"""A small study that was really run, without Ray: a referee, trials one after another in this process, and MLflow."""

from pathlib import Path
from typing import Any

from hikaku.search.referee import Referee
from hikaku.study.folder import prepare_texts
from hikaku.study.origins import save_origins
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.folders import DATA_FOLDER
from records.results import Outcome
from records.tracking import create_store
from tests.support.texts import draw_texts, write_byte_model, write_jsonl
from trainables.config import Precision, TrialConfig
from trainables.corpora.tokens.writing import digest_data
from trainables.jobs.measurement import measure_base
from trainables.jobs.runner import run_trial
from trainables.models.source import resolve_model

LENGTH, STEP = 64, 4 * 64
QUICK, SLOW = 1e-2, 1e-7  # learning rates: of the two trials of the LoRA arm, the second is pruned


def describe_study(root: Path, precision: Precision) -> dict[str, Any]:
    """Return a study of a byte model on two sets of texts, which are written under `root`."""
    write_byte_model(root / "model")
    sets = {"japanese": ("adapt", 1, 40), "english": ("retain", 2, 20)}
    data = {
        name: {"role": role, "path": write_jsonl(root / f"{name}.jsonl", draw_texts(count, seed, longest=3)), "format": "jsonl"}
        for name, (role, seed, count) in sets.items()
    }
    lora = {"method.rank": 4, "method.alpha_over_rank": 2.0, "method.dropout": 0.1}
    rate = {"low": SLOW, "high": QUICK, "log": True}
    return {
        "name": "small",
        "description": "A small model learns Japanese.",
        "model": {"path": str(root / "model"), "licence": "Apache-2.0"},
        "data": data,
        "arms": {
            "lora": {
                "method": "lora",
                "space": lora | {"optimizer.learning_rate": rate},
                "starts": [{"optimizer.learning_rate": each} for each in (QUICK, SLOW)],
            },
            "sft": {"method": "full", "space": {"optimizer.learning_rate": {"low": SLOW, "high": 2e-3, "log": True}}},
        },
        "budget": {"trials": 2, "tokens": 6 * STEP},
        "pruning": {"first_rung": 2 * STEP, "reduction_factor": 2},
        "training": {"precision": precision, "batch": {"sequence_length": LENGTH, "blocks": 4, "micro_blocks": 2}, "curve_every": STEP},
        "objectives": [{"metric": "eval/bits_per_character"}],
    }


def run_small_study(root: Path, precision: Precision = "fp32") -> Study:
    """Return the study of `describe_study` after running it; see `run_study`."""
    study = Study.model_validate(describe_study(root, precision))
    referee = run_study(study, root / "state", precision)
    assert referee.snapshot()[1].outcome == Outcome.PRUNED
    return study


def run_study(study: Study, state: Path, precision: Precision = "fp32") -> Referee:
    """Return the closed referee of a study after running it; its state lies in `state`, with an MLflow store `mlflow.db`."""
    folder = state / study.name
    model = resolve_model(study.model, fetch=True)
    assert model.folder is not None
    card = prepare_texts(study, model.folder, folder, lambda line: None)
    save_origins(folder, study)
    tags = {"revision": str(model.digest), "licence": study.model.licence, "train_digest": card.train_digest, "precision": precision}
    setting = Setting(folder, model.folder, folder / DATA_FOLDER, precision, create_store(state), tags, digest_data(study.data))
    measure_base(study.trial_config(study.id.base, setting, {}))
    referee = Referee(study, setting)
    while (flat := referee.next_trial()) is not None:
        config = TrialConfig.unflatten(flat)
        result = run_trial(config, lambda rung, uid=config.uid: referee.report(uid, rung))
        referee.finish(config.uid, result)
    assert referee.close(finished=True) == ""
    return referee
