"""A trial as a folder that transformers and peft read without hikaku, and how near that folder comes to the trial."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from records.files import write_file
from trainables.config import Precision, TrialConfig
from trainables.corpora.tokens.folder import check_split, split_folder
from trainables.corpora.tokens.tokenizer import load_text_tokenizer, load_tokenizer
from trainables.evaluation.nats import measure_tokens, perplexity
from trainables.group import autocast, device_of_worker
from trainables.methods import Method
from trainables.models.model import LanguageModel, build_model, load_model, load_network
from trainables.models.source import ModelSource

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-3, "fp16": 2e-3}  # of perplexity, relative
ROWS, COLUMNS = 4, 64  # of validation, whose logits are compared


@dataclass(frozen=True)
class Agreement:
    """How near an exported folder, read back as anyone reads it, comes to its trial.

    Perplexities are on the validation documents of the sets adapted to; logits are those of their first rows, and their spread is the
    standard deviation of the trial's.
    """

    trial_perplexity: float
    perplexity: float
    logit_difference: float
    logit_spread: float
    tolerance: float

    @property
    def relative(self) -> float:
        """Return how far the perplexities are apart, relative to the trial's."""
        return abs(self.perplexity / self.trial_perplexity - 1)

    @property
    def is_good(self) -> bool:
        """Return whether that is within the tolerance."""
        return self.relative <= self.tolerance


def writes_adapter(method: Method, *, merge: bool) -> bool:
    """Return whether a trial is exported as an adapter, which names its base, and not as a whole model."""
    return method.freezes_base and not merge


def write_model(config: TrialConfig, weights: Path, folder: Path, source: ModelSource, *, merge: bool) -> None:
    """Write a trial's adapter, which names its base model, or with `merge`, and where there is no adapter always, the whole model.

    `weights` is the trial's own folder of weights. The adapter's base is named by its id on the hub, or by its folder on this machine.
    The tokenizer lies beside, and `generation_config.json`: the base model's, which ends at what training taught too.
    """
    model = build_model(config, weights)
    base = Path(config.model.folder)
    ends = load_text_tokenizer(base).find_ends(model.causal)
    if writes_adapter(model.method, merge=merge):
        model.method.save(model.network, folder, base=source.id or config.model.folder, revision=source.revision)
        settings = model.causal.generation_config
        settings.eos_token_id = ends
        write_file(folder / "generation_config.json", settings.to_json_string())
    else:
        whole = model.method.merge(model.network)
        whole.config.use_cache = True  # off in training
        whole.generation_config.eos_token_id = ends
        whole.save_pretrained(str(folder), safe_serialization=True)
    load_tokenizer(base).save_pretrained(str(folder))


@torch.no_grad()
def compare_export(config: TrialConfig, weights: Path, folder: Path, trial_perplexity: float, *, merge: bool) -> Agreement:
    """Return how near the exported folder comes to the trial, whose validation documents must lie where it was trained.

    Logits compare the trial's forward pass with the one that whoever loads the folder will make; perplexities are measured alike.
    """
    device, data = device_of_worker(), Path(config.data.folder)
    places = [split_folder(data, name, "validation") for name in check_split(data, "validation").adapted]
    inputs_bt = torch.from_numpy(np.load(places[0] / "inputs.npy")[:ROWS, :COLUMNS].astype(np.int64)).to(device)
    trial = build_model(config, weights).to(device).eval()
    with autocast(config):
        expected = trial.head.logits(trial.hidden_states(inputs_bt).flatten(0, 1)).unflatten(0, inputs_bt.shape)
    del trial  # two whole models need not fit at once
    exported = _read(config, folder, merge=merge).to(device).eval()
    actual = exported.network(input_ids=inputs_bt, use_cache=False).logits.float()
    nats = np.concatenate([measure_tokens(exported, place)[0] for place in places])
    return Agreement(
        trial_perplexity=trial_perplexity,
        perplexity=perplexity(float(nats.sum()), len(nats)),
        logit_difference=float((actual - expected).abs().max()),
        logit_spread=float(expected.std()),
        tolerance=TOLERANCE[config.model.precision],
    )


def _read(config: TrialConfig, folder: Path, *, merge: bool) -> LanguageModel:
    """Return the model of an exported folder."""
    method, precision = config.method, config.model.precision
    if not writes_adapter(method, merge=merge):
        return load_model(folder, precision)
    base = load_network(Path(config.model.folder), precision, method)
    return LanguageModel(method.read_adapter(base, folder), method)
