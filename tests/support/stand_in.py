"""A study that needs no torch, and a worker that stands in for training: its perplexity follows a formula.

Ray itself puts the stand-in there: each process it starts for a job can be made to call a function first (`worker_process_setup_hook` of
the job's runtime environment). A test that starts Ray gives `RUNTIME_ENV` to `ray.init`; where the code under test starts Ray, the variable
`RAY_RUNTIME_ENV_HOOK` names a function that `ray.init` asks for the environment: `HOOK`.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from hikaku.search.referee import Referee
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.results import Outcome, Result, RungReport, save_result
from tests.support.empty_model import write_empty_model
from trainables.config import TrialConfig


def write_model(folder: Path) -> Path:
    """Write a model folder that resolves and tokenises, though nothing can be computed with it."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    shape = {
        "model_type": "llama",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 256,
    }
    write_empty_model(folder, shape)
    tokenizer = Tokenizer(
        models.BPE(
            vocab={"<|endoftext|>": 0} | {letter: n for n, letter in enumerate("abcdefgh ", start=1)}, merges=[], unk_token="<|endoftext|>"
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"})
    )
    return folder


def make_study(folder: Path, **changes: Any) -> Study:
    """Return a small study of two arms whose model and text lie in `folder`."""
    write_model(folder / "model")
    for name in ("adapted", "retained"):
        texts = folder / name
        texts.mkdir(parents=True, exist_ok=True)
        for number in range(12):
            (texts / f"{number:02}.txt").write_text(f"{'abcdefgh'[number % 8]} b c d e f g h " * 20)
    plain: dict[str, Any] = {
        "name": "small",
        "model": {"path": str(folder / "model"), "licence": "none"},
        "data": {
            "adapted": {"role": "adapt", "path": str(folder / "adapted")},
            "retained": {"role": "retain", "path": str(folder / "retained")},
        },
        "arms": {
            "lora": {
                "method": "lora",
                "space": {
                    "method.rank": {"choices": [4, 8, 16]},
                    "method.alpha_over_rank": 2.0,
                    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                },
                "starts": [{"method.rank": 16, "optimizer.learning_rate": 3e-4}],
            },
            "full": {"method": "full", "space": {"optimizer.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}},
        },
        "budget": {"trials": 4, "tokens": 900},
        "pruning": {"first_rung": 100, "reduction_factor": 3},
        "training": {"batch": {"sequence_length": 16, "blocks": 6, "micro_blocks": 1}, "schedule": {"warmup_share": 0.1}},
        "objectives": [{"metric": "eval/perplexity"}],
    }
    return Study.model_validate(plain | changes)


def make_referee(study: Study, folder: Path) -> Referee:
    return Referee(study, Setting(folder / study.name, folder / "model", folder / "data", "fp32"))


def metrics_at(config: TrialConfig, tokens: int) -> dict[str, float]:
    """Return metrics that fall with tokens towards a floor set by the learning rate; the highest rates forget most."""
    distance = abs(math.log10(config.optimizer.learning_rate) + 3.5)
    perplexity = 10 + 5 * distance + 100 / math.sqrt(tokens)
    return {
        "eval/perplexity": perplexity,
        "retention/retained": 1.2 - 150 * config.optimizer.learning_rate,
        "efficiency/tokens_per_second": 1000.0,
    }


def result_of(config: TrialConfig, outcome: Outcome, tokens: int, **more: float) -> Result:
    metrics = metrics_at(config, tokens) | more if tokens else {}
    return Result(uid=config.uid, outcome=outcome, tokens=tokens, metrics=metrics, started=time.time(), ended=time.time())


def take_the_place_of_work() -> None:
    """Put the stand-in's `work` where a trial's process looks for what its workers do."""
    from trainables import process

    process.work = work


RUNTIME_ENV = {"worker_process_setup_hook": f"{__name__}.{take_the_place_of_work.__name__}"}


def add_to_runtime_env(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Return the runtime environment of a job with the stand-in in it."""
    return (runtime_env or {}) | RUNTIME_ENV


HOOK = {"RAY_RUNTIME_ENV_HOOK": f"{__name__}.{add_to_runtime_env.__name__}"}


def work(order: dict[str, Any]) -> None:
    """Do what `trainables.process.work` does, with the formula; seconds per rung and misbehaviour are in the environment."""
    for job, flat in order["jobs"]:
        config = TrialConfig.unflatten(flat)
        folder = Path(config.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(config.model_dump_json())
        if job == "trial":
            save_result(folder, pretend(config, order["referee"]))
        elif job == "replicate":
            if misdeed_of(config) == "error":
                raise RuntimeError("the replicate's own error")
            misdeed = Outcome.DIVERGED if misdeed_of(config) == "diverged" else Outcome.COMPLETED
            save_result(folder, result_of(config, misdeed, config.budget.tokens))
        else:
            result = result_of(config, Outcome.COMPLETED, 900)
            more = {"test/perplexity": 1.0} if job == "test" else {}
            save_result(folder, result.model_copy(update={"metrics": result.metrics | more}))


def pretend(config: TrialConfig, referee: str) -> Result:
    """Return the result of a trial that reports what the formula says, or misbehaves as the environment wants."""
    from trainables.process import ask_referee

    report, misdeed = ask_referee(referee, config.uid), misdeed_of(config)
    for tokens in (*config.budget.rungs, config.budget.tokens):
        time.sleep(float(os.environ.get("STAND_IN_SECONDS", "0")))
        metrics = metrics_at(config, tokens)
        if misdeed == "error":
            raise RuntimeError("a line of detail\nthe trial's own error")
        if misdeed == "death":
            os._exit(1)
        if misdeed == "diverged":
            return result_of(config, Outcome.DIVERGED, 0)
        if misdeed == "nan":
            metrics["eval/perplexity"] = math.nan
        if not report(RungReport(tokens=tokens, metrics=metrics, unix_time=time.time())) and tokens < config.budget.tokens:
            return result_of(config, Outcome.PRUNED, tokens)
    return result_of(config, Outcome.COMPLETED, config.budget.tokens)


def misdeed_of(config: TrialConfig) -> str | None:
    """Return what the environment wants of a trial: `uid=error,uid=death,uid=nan,uid=diverged`."""
    wanted = dict(pair.split("=") for pair in os.environ.get("STAND_IN_MISDEEDS", "").split(",") if pair)
    return wanted.get(config.uid)
