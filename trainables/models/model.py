"""The base model and its tokenizer, from a local folder: safetensors only, no code of others is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from records.refusals import Refusal
from trainables.config import Precision, TrialConfig
from trainables.group import DTYPES
from trainables.methods import MEASURED_ONLY, METHODS, Method
from trainables.models.folder import locate_weights
from trainables.models.loss import Head, linear_cross_entropy
from trainables.shape import read_model_shape


class LanguageModel(nn.Module):
    """A network and the method that prepared it. Training, evaluation and generation hold this, so none can pass the method by.

    `network` is what transformers, or peft around it, made: the study's own functions are given it, and nothing else computes with it
    directly. A base that is only measured has the method of `bare`.
    """

    def __init__(self, network: Any, method: Method) -> None:
        super().__init__()
        self.network = network
        self.method = method

    @classmethod
    def bare(cls, network: Any) -> Self:
        """Return a network that no method has touched, to be measured as it is."""
        return cls(network, METHODS[MEASURED_ONLY].model_validate({}))

    @property
    def causal(self) -> Any:
        """The transformers causal model, which generates as the method has it."""
        return self.method.causal(self.network)

    @property
    def config(self) -> Any:
        """The architecture's configuration, as transformers has it."""
        return self.causal.config

    @property
    def head(self) -> Head:
        """What makes logits of hidden states; its matrix [vocabulary, hidden] is the embedding's own where they are tied."""
        linear = self.causal.get_output_embeddings()
        return Head(linear.weight, linear.bias, getattr(self.config, "final_logit_softcapping", None))

    def hidden_states(self, input_ids_bt: Tensor, positions_bt: Tensor | None = None) -> Tensor:
        """Return the output before the head, [batch, time, hidden]; where positions begin again, a document begins."""
        return self.method.hidden_states(self.network, input_ids_bt, positions_bt)

    def save(self, folder: Path) -> None:
        """Write what the method trained into a folder."""
        self.method.save(self.network, folder)


def load_network(folder: Path, precision: Precision, method: Method | None = None) -> Any:
    """Return the causal language model of a Hugging Face folder, its weights in the precision's type, on the CPU.

    A method may ask for the base in another form. Raises Refusal where the folder holds no safetensors, or where its weights are not
    all of the model's, or not finite.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    locate_weights(folder)
    options = {
        "dtype": DTYPES[precision],
        "attn_implementation": read_model_shape(folder).architecture.attention,
        "use_safetensors": True,
        "trust_remote_code": False,
        "local_files_only": True,
        "output_loading_info": True,
    }
    read: Any = AutoModelForCausalLM.from_pretrained  # typed as if it never returned what it loaded beside the model
    network, loaded = read(folder, **options | (method.base_options() if method else {}))
    _check_loaded(folder, network, loaded)
    network.config.use_cache = False
    return network


def _check_loaded(folder: Path, network: Any, loaded: Mapping[str, Any]) -> None:
    """Refuse a network with weights that the folder lacks, which transformers fills at random, or with weights that are not finite."""
    lacking = sorted({*loaded["missing_keys"], *(each[0] for each in loaded["mismatched_keys"])})
    if lacking:
        raise Refusal(got=f"{folder}, whose weights lack {lacking[0]}", allowed="all parameters of its config.json")
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            raise Refusal(got=f"{folder}, whose {name} holds numbers that are not finite", allowed="weights that are finite numbers")


def load_model(folder: Path, precision: Precision) -> LanguageModel:
    """Return the model of a folder as it is, to be measured; raises as `load_network` does."""
    return LanguageModel.bare(load_network(folder, precision))


def build_model(config: TrialConfig, weights: Path | None = None) -> LanguageModel:
    """Return the base model as the trial's method makes it trainable, with saved weights of that method where they are given."""
    method = config.method
    network = load_network(Path(config.model.folder), config.model.precision, method)
    if config.model.activation_checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    network = method.prepare(network)
    if weights is not None:
        method.load(network, weights)
    return LanguageModel(network, method)


@torch.no_grad()
def isolates_documents(model: LanguageModel) -> bool:
    """Return whether a document's hidden states are its own: seen by changing the document before it in a block."""
    training = model.training
    model.eval()
    blocks_bt = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]], device=model.head.weight.device)
    positions_bt = torch.tensor([[0, 1, 0, 1]] * 2, device=blocks_bt.device)
    first, second = model.hidden_states(blocks_bt, positions_bt)[:, 2:].float()
    model.train(training)
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5)


class NatsModule(nn.Module):
    """The model with its loss: what the engine trains. Logits are never held whole."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_bt: Tensor, targets_bt: Tensor, positions_bt: Tensor) -> Tensor:
        """Return the sum of nats over the targets, a float32 scalar."""
        return linear_cross_entropy(self.model.hidden_states(inputs_bt, positions_bt), self.model.head, targets_bt)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return (trainable, total) parameters of the built model, tied weights once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)
