"""How far a trial's predictions have moved from the base's on texts it should not forget: KL divergence, token by token.

The base leaves its hidden states of the first rows of each such set; its head is read from the model folder. Nothing else of the
base is needed beside the trial, which holds its own weights.
"""

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from records.files import write_file
from records.folders import REFERENCE_FILE
from trainables.corpora.tokens.folder import Card, load_card, split_folder
from trainables.corpora.tokens.packing import IGNORED
from trainables.models.folder import match_parameters
from trainables.models.loss import Head
from trainables.models.model import LanguageModel
from trainables.shape import loss_chunk_tokens, read_model_shape

TOKENS = 2048  # of each set, at least one row: a mean over so many is steady, and their hidden states are some megabytes


@torch.no_grad()
def save_reference(model: LanguageModel, data_folder: Path, folder: Path) -> None:
    """Write the base's hidden states [tokens, hidden] of every retained set into its folder."""
    card = load_card(data_folder)
    states = {name: _states(model, data_folder, name).cpu().contiguous() for name in card.retained}
    if states:
        write_file(folder / REFERENCE_FILE, partial(save_file, states))


@torch.no_grad()
def measure_divergence(model: LanguageModel, card: Card, data_folder: Path, base_folder: Path, model_folder: Path) -> dict[str, float]:
    """Return `divergence/{set}`, KL(base || trial) in nats per token; empty where the base left no reference."""
    if not (base_folder / REFERENCE_FILE).exists():
        return {}
    reference = load_file(base_folder / REFERENCE_FILE)
    head = model.head  # the trial's own: full fine-tuning changes it
    like = head.weight
    base_head = replace(head, weight=read_head(model_folder).to(like.device, like.dtype))
    return {
        f"divergence/{name}": mean_divergence(
            reference[name].to(like.device, like.dtype), base_head, _states(model, data_folder, name), head
        )
        for name in card.retained
    }


def mean_divergence(base_td: Tensor, base_head: Head, trial_td: Tensor, trial_head: Head) -> float:
    """Return the mean over tokens of sum p (ln p - ln q), p the base's probabilities and q the trial's; in chunks of tokens."""
    chunk = max(1, loss_chunk_tokens(len(base_head.weight)) // 2)  # halved, since two models' logits are held at once
    total = 0.0
    for start in range(0, len(base_td), chunk):
        rows = slice(start, start + chunk)
        base_tv, trial_tv = (  # ln p and ln q; in float32, or small differences of half-precision logits would be lost
            torch.log_softmax(head.logits(hidden_td[rows]), dim=1) for hidden_td, head in ((base_td, base_head), (trial_td, trial_head))
        )
        total += (base_tv.exp() * (base_tv - trial_tv)).sum(dtype=torch.float64).item()
    return total / len(base_td)


def _states(model: LanguageModel, data_folder: Path, name: str) -> Tensor:
    """Return the hidden states [tokens, hidden] at the targets of the set's first validation rows, about TOKENS of them."""
    folder = split_folder(data_folder, name, "validation")
    inputs, targets = (np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in ("inputs", "targets"))
    targets_before = np.cumsum((np.asarray(targets) != IGNORED).sum(axis=1))  # [rows]: up to each row's end
    rows = 1 + int(np.searchsorted(targets_before, TOKENS, side="right"))
    device = next(model.parameters()).device
    is_target_bt = torch.from_numpy(np.asarray(targets[:rows]) != IGNORED).to(device)
    states: list[Tensor] = []
    # Row by row, so that base and trial compute the same shapes and round alike.
    for row, is_target_t in zip(inputs[:rows], is_target_bt, strict=True):
        inputs_1t = torch.from_numpy(np.asarray(row, np.int64))[None].to(device)
        states.append(model.hidden_states(inputs_1t)[0][is_target_t])
    return torch.cat(states)


@lru_cache(maxsize=1)  # one base serves all trials of a process
def read_head(model_folder: Path) -> Tensor:
    """Return the head's matrix from a model folder's safetensors, the embedding's where they are tied."""
    shape = read_model_shape(model_folder)
    wanted = shape.architecture.embedding if shape.tied_embeddings else shape.architecture.head
    stored = match_parameters(model_folder, shape)[0][wanted]
    with safe_open(stored.file, framework="pt") as file:
        return file.get_tensor(stored.name)
