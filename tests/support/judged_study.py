"""A study with finalists as MLflow holds one after its end, every number by formula: LoRA learns less, and forgets less."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from records.results import CurvePoint, Outcome
from records.tracking import RunRecord, Tracker

NAME, SEEDS, DOCUMENTS = "judged", 5, 50
NATS = {"base": 6.0, "lora": 4.0, "sft": 3.5}  # per token
METHOD = {"lora": "lora", "sft": "full"}


def write_judged_study(uri: str, folder: Path, seeds: int = SEEDS) -> None:
    """Write base, three trials an arm and the replicates of the last, with documents, curves, classes of text and scales."""
    tracker = Tracker(uri)
    openings = folder / "openings.jsonl"
    openings.write_text('{"uid": "judged/base"}\n' * (1 + 2 * seeds))
    tags = {"objective": "eval/bits_per_character", "direction": "minimize", "model": "made"}
    tracker.write(RunRecord(uid=NAME, kind="study", name=NAME, tags=tags, artifacts=(openings,), outcome=Outcome.COMPLETED, started=1.0))
    base = measure(NATS["base"], 1.0) | {"test/nats_per_token": NATS["base"], "test/perplexity": math.exp(NATS["base"])}
    tracker.write(RunRecord(uid=f"{NAME}/base", kind="base", name="base", outcome=Outcome.COMPLETED, metrics=base, started=1.0, ended=2.0))
    for arm in METHOD:
        for number in range(3):
            tracker.write(trial(arm, number))
        for seed in range(seeds):
            tracker.write(replicate(arm, seed, folder))


def trial(arm: str, number: int) -> RunRecord:
    """Return a trial; a higher learning rate and rank learn more."""
    params = {"method.name": METHOD[arm], "optimizer.learning_rate": 10.0 ** (number - 4), "schedule.shape": "cosine"}
    rank = {"method.rank": 4 * 2**number} if arm == "lora" else {}
    nats = NATS[arm] + 0.2 * (2 - number)
    return RunRecord(
        uid=f"{NAME}/{arm}/{number}",
        kind="trial",
        name=f"{arm}/{number}",
        params=params | rank,
        tags={"arm": arm, "method": METHOD[arm], "device": "a CPU"},
        outcome=Outcome.COMPLETED,
        tokens=4000,
        curve=curve(nats),
        metrics=measure(nats, 0.9 if arm == "lora" else 0.7) | efficiency(arm, number),
        datasets={"adapted": ("0" * 64, "adapt")},
        started=2.0,
        ended=3.0,
    )


def replicate(arm: str, seed: int, folder: Path) -> RunRecord:
    """Return a replicate of the arm's last trial, its test documents among its files."""
    random = np.random.default_rng([seed, len(arm)])
    tokens = np.full(DOCUMENTS, 100)
    difficulty = np.random.default_rng(0).normal(0, 0.3, DOCUMENTS)
    nats = tokens * (NATS[arm] + difficulty + random.normal(0, 0.05, DOCUMENTS) + random.normal(0, 0.02))
    columns = {"set": "adapted", "split": "test", "document": [f"d{n}" for n in range(DOCUMENTS)], "stratum": ["simple", "complex"] * 25}
    place = folder / f"{arm}-{seed}"
    place.mkdir(exist_ok=True)
    pd.DataFrame(columns | {"nats": nats, "tokens": tokens, "characters": 200, "bytes": 600}).to_parquet(place / "documents.parquet")
    mean = float(nats.sum() / tokens.sum())
    found = trial(arm, 2)
    more = {f"test/{name.removeprefix('eval/')}": value for name, value in measure(mean, 0.9 if arm == "lora" else 0.7).items()}
    if arm == "lora":
        more |= {"scaled/0.5/perplexity": math.exp(mean + 1), "scaled/0.5/bits_per_character": 4.0, "scaled/0.5/retention/english": 0.97}
    seeded = {"trial": found.uid, "seed_index": str(seed)}
    changes = {"uid": f"{found.uid}/seed-{seed}", "kind": "replicate", "name": f"{found.name}/seed-{seed}", "curve": curve(mean)}
    return found.model_copy(
        update=changes
        | {"tags": found.tags | seeded, "metrics": found.metrics | more, "artifacts": (place / "documents.parquet",), "curve": curve(mean)}
    )


def measure(nats: float, retention: float) -> dict[str, float]:
    """Return what a model that needs so many nats per token has on validation."""
    bits = nats / math.log(2) / 2
    return {
        "eval/nats_per_token": nats,
        "eval/perplexity": math.exp(nats),
        "eval/bits_per_character": bits,
        "retention/english": retention,
        "script/kanji/bits_per_character": bits * 1.5,
        "script/hiragana/bits_per_character": bits * 0.8,
        "stratum/simple/bits_per_character": bits * 0.9,
        "stratum/complex/bits_per_character": bits * 1.1,
    }


def efficiency(arm: str, number: int) -> dict[str, float]:
    size = 1e4 * 2**number if arm == "lora" else 1e6
    parts = {"weights": 0.4, "optimizer": size / 1e6, "gradients": size / 2e6, "activations": 0.2}
    sizes = {f"efficiency/{part}_gib": value for part, value in parts.items()}
    return sizes | {
        "efficiency/trainable_parameters": size,
        "efficiency/peak_memory_gib": sum(parts.values()),
        "efficiency/predicted_peak_memory_gib": 1.0,
        "efficiency/tokens_per_second": 1000.0,
        "efficiency/train_seconds": 4.0,
        "convergence/tokens_to_95": 3000.0,
    }


def curve(nats: float) -> tuple[CurvePoint, ...]:
    points = range(1, 21)
    return tuple(
        CurvePoint(tokens=200 * k, loss=nats + 2 / k, learning_rate=1e-3, gradient_norm=1 / k, seconds=k / 5, unix_time=2.0 + k / 20)
        for k in points
    )
