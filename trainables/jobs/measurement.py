"""Measuring models that are not in training: the base, and the best once their test split is opened."""

import pkgutil
import time
from pathlib import Path

import torch

from records.files import digest_files, put_aside, write_file
from records.folders import ASIDE_LOG, CONFIG_FILE, REFERENCE_FILE, RESULT_FILE, SAMPLES_FILE, WEIGHTS_FOLDER
from records.results import Outcome, Result, claim_result, load_result, read_result, save_result
from records.sealed import INTACT, DamagedError
from trainables.config import TrialConfig
from trainables.evaluation.answers import measure_similarity
from trainables.evaluation.divergence import save_reference
from trainables.evaluation.documents import write_documents
from trainables.evaluation.nats import evaluate
from trainables.evaluation.samples import write_samples
from trainables.group import autocast, barrier, device_of_worker, join_group
from trainables.jobs.facts import read_attention, read_machine
from trainables.models.model import LanguageModel, build_model, count_parameters, load_model

SCALES = (0.25, 0.5, 0.75, 1.25)  # of an adapter, times the scale it was trained with
SCALED = ("eval/perplexity", "eval/bits_per_character")


def measure_base(config: TrialConfig) -> Result:
    """Measure the untouched model on the validation documents of every set; `result.json` and documents in its folder."""
    ended = claim_on_every_worker(config)
    if ended is not None:  # measured before an interruption
        return ended
    started = time.time()
    rank, _ = join_group()
    model = load_model(Path(config.model.folder), config.model.precision).to(device_of_worker()).eval()
    evaluation = evaluate(model, Path(config.data.folder), "validation")
    metrics = evaluation.metrics(evaluation.metrics(None))  # it retains all that it knows
    metrics |= dict.fromkeys((f"divergence/{name}" for name in evaluation.card.retained), 0.0)  # from itself
    _, total = count_parameters(model)
    metrics["efficiency/total_parameters"] = float(total)
    facts = read_machine(config) | {"attention": read_attention(model)}
    result = Result(
        uid=config.uid,
        outcome=Outcome.COMPLETED,
        tokens=0,
        metrics=metrics,
        facts=facts,
        started=started,
        ended=time.time(),
        config=config.owner.config,
    )
    if rank == 0:  # the result comes last: it says that all the rest is there
        folder = Path(config.folder)
        write_documents(folder, evaluation.documents, config.owner.config)
        save_reference(model, Path(config.data.folder), folder)
        write_file(folder / CONFIG_FILE, config.model_dump_json(indent=1))
        result = result.model_copy(update={"files": digest_files(folder, REFERENCE_FILE)})
        save_result(folder, result)
    return result


def claim_on_every_worker(config: TrialConfig) -> Result | None:
    """Return the result that the run has left; None where there is none, or what was there is not its own and was put aside."""
    rank, _ = join_group()
    folder = Path(config.folder)
    claimed = claim_result(folder, config.owner) if rank == 0 else None
    barrier()
    return claimed if rank == 0 else load_result(folder)


def measure_scales(config: TrialConfig) -> None:
    """Add to a trained adapter's result what validation says of it applied weaker or stronger than it was trained, once.

    Nothing is added where the method cannot be scaled.
    """
    folder = Path(config.folder)
    result = load_result(folder)
    assert result is not None, f"{folder}: scales are measured when training has ended"
    done = any(name.startswith("scaled/") for name in result.metrics)
    scaled = config.method.scaled
    if scaled is None or result.outcome != Outcome.COMPLETED or done:
        return
    rank, _ = join_group()
    model = build_model(config, folder / WEIGHTS_FOLDER).to(device_of_worker()).eval()
    base, metrics = read_base(config), dict(result.metrics)
    for scale in SCALES:
        with torch.no_grad(), autocast(config), scaled(model.network, scale):
            measured = evaluate(model, Path(config.data.folder), "validation").metrics(base)
        reported = {name: value for name, value in measured.items() if name in SCALED or name.startswith("retention/")}
        metrics |= {f"scaled/{scale:g}/{name.removeprefix('eval/')}": value for name, value in reported.items()}
    if rank == 0:
        save_result(folder, result.model_copy(update={"metrics": metrics}))
    barrier()  # no worker goes on to a job that would read what is not written yet


def open_test(config: TrialConfig) -> Result:
    """Measure the test split with the weights that training left, or with the base where there are none; once.

    Adds the `test/*` metrics to `result.json` and the test documents to the run's documents. Raises FileNotFoundError where the
    run has no result yet.
    """
    folder = Path(config.folder)
    result = load_result(folder)
    if result is None:
        raise FileNotFoundError(f"{folder}: no result.json: the test split is opened for ended runs only")
    if any(name.startswith("test/") for name in result.metrics):
        return result
    rank, _ = join_group()
    weights = folder / WEIGHTS_FOLDER
    check_weights(folder, result)
    if result.tokens and not weights.exists():  # of a run that was trained the base must not stand for it
        raise DamagedError(f"{weights}: is missing; put it back, or remove {folder / RESULT_FILE} to have {result.uid} trained anew")
    model = build_model(config, weights) if weights.exists() else load_model(Path(config.model.folder), config.model.precision)
    with torch.no_grad(), autocast(config):
        evaluation = evaluate(model.to(device_of_worker()).eval(), Path(config.data.folder), "test")
    # Retention on test is against the base on test, whose split was opened before; the base is its own measure.
    base = read_base(config) if weights.exists() else evaluation.metrics(None)
    measured = evaluation.metrics(base)
    measured["test/degradation"] = measured["test/perplexity"] - result.metrics["eval/perplexity"]
    facts = dict(result.facts)
    if rank == 0:
        write_documents(folder, evaluation.documents, config.owner.config)
        places = Path(config.model.folder), Path(config.data.folder)
        with torch.no_grad(), autocast(config):
            write_samples(model, *places, folder)
            if config.similarity is not None:
                similar, facts["similarity"] = measure_similarity(model, *places, config.similarity)
                measured |= similar
    result = result.model_copy(update={"metrics": result.metrics | measured, "facts": facts})
    if rank == 0:
        result = result.model_copy(update={"files": result.files | digest_files(folder, SAMPLES_FILE)})
        save_result(folder, result)
    barrier()
    return result


def read_base(config: TrialConfig) -> dict[str, float] | None:
    """Return the base's metrics, against which retention is measured; None where no base was measured."""
    folder = config.data.base_result_folder
    result = read_result(Path(folder)) if folder else None
    if result is None:
        return None
    INTACT.check(Path(folder), result.files)  # the reference, which divergence is measured against
    return result.metrics


def check_weights(folder: Path, result: Result) -> None:
    """Raise DamagedError where the weights that a run left are not those that its result names: the result is put aside with them.

    A result of the format before names none.
    """
    try:
        INTACT.check(folder, {name: digest for name, digest in result.files.items() if name.startswith(f"{WEIGHTS_FOLDER}/")})
    except DamagedError as error:
        put_aside(folder / RESULT_FILE, f"has lost its weights: {error}", folder / ASIDE_LOG)
        raise DamagedError(f"{error}; give the same command again: it trains {result.uid} anew") from None


@torch.no_grad()
def call_own_metrics(model: LanguageModel, config: TrialConfig) -> dict[str, float]:
    """Return the values of the study's own functions, each called as `function(network, data_folder)` on the model at rest."""
    functions = {name: pkgutil.resolve_name(path) for name, path in config.own_metrics.items()}
    return {name: float(function(model.network, Path(config.data.folder))) for name, function in functions.items()}
