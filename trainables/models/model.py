"""The base model and its tokenizer, from a local folder: safetensors only, no code of others is run."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from records.refusals import Refusal
from trainables.config import Precision, TrialConfig
from trainables.group import DTYPES
from trainables.models.loss import linear_cross_entropy


def load_model(folder: Path, precision: Precision) -> Any:
    """Return the causal language model of a Hugging Face folder, its weights in the precision's type, on the CPU.

    Raises ValueError where the folder holds no safetensors.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not any(folder.glob("*.safetensors")):
        raise Refusal(place=str(folder), fault="no *.safetensors here", allowed="a model folder with safetensors weights")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES[precision],
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    model.config.use_cache = False
    return model


def build_model(config: TrialConfig, weights: Path | None = None) -> Any:
    """Return the base model as the trial's method makes it trainable, with saved weights of that method where they are given."""
    model = load_model(Path(config.model.folder), config.model.precision)
    if config.model.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = config.method.prepare(model)
    if weights is not None:
        config.method.load(model, weights)
    return model


def hidden_states(model: Any, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return the backbone's output before the head, [batch, time, hidden]; adapters are applied where there are any.

    Where `positions` [batch, time] begin again, a document begins: transformers then masks attention to those before it.
    """
    packed = {} if positions is None else {"position_ids": positions}
    return _causal(model).model(input_ids=input_ids, use_cache=False, **packed).last_hidden_state


@torch.no_grad()
def isolates_documents(model: Any) -> bool:
    """Return whether a document's hidden states are its own: seen by changing the document before it in a block."""
    training = model.training
    model.eval()
    blocks = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]], device=head_weight(model).device)
    first, second = hidden_states(model, blocks, torch.tensor([[0, 1, 0, 1]] * 2, device=blocks.device))[:, 2:].float()
    model.train(training)
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5)


def head_weight(model: Any) -> Tensor:
    """Return the head's matrix [vocabulary, hidden], the embedding's own where they are tied."""
    return _causal(model).get_output_embeddings().weight


def _causal(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class NatsModule(nn.Module):
    """The model with its loss: what the engine trains. Logits are never held whole."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_bt: Tensor, targets_bt: Tensor, positions_bt: Tensor) -> Tensor:
        """Return the sum of nats over the targets, a float32 scalar."""
        return linear_cross_entropy(hidden_states(self.model, inputs_bt, positions_bt), head_weight(self.model), targets_bt)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return (trainable, total) parameters of the built model, tied weights once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)
