"""What every method is: the interface through which a study is checked and priced, a model prepared, trained, measured and taken home.

Nothing outside `trainables/methods` compares a method's name; whoever must know asks the method. The defaults here are those of a
method that trains weights of the base itself, in place; `trainables/methods/adapter.py` has those of a peft adapter over a frozen base.
So a new method writes its fields, what it trains and how it prepares a model; only where it differs does it override more.

A study file is checked against these classes where neither torch nor peft may be imported: methods import them where they are used.
`network` is always what `prepare` returned: a transformers model, or what peft made of it.
"""

# pyright: reportUnknownVariableType=false

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from trainables.architectures import ARCHITECTURES
from trainables.shape import ModelShape

if TYPE_CHECKING:
    from torch import Tensor

Scaling = Callable[[Any, float], AbstractContextManager[None]]


class Method(BaseModel, ABC, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a base model becomes trainable. A method's fields are its hyperparameters; a subclass gives `name` its one value."""

    name: str

    freezes_base: ClassVar[bool] = False
    """Whether the base's own weights stay as they are, and what is trained is added to them, in float32, and saved apart from them.

    Precision of training, memory, disk, autocast, what MLflow keeps and what `hikaku export` writes follow from it.
    """

    sized_by: ClassVar[tuple[str, ...]] = ()
    """The fields that decide how many parameters are trained: `hikaku check` lists every combination that a space allows."""

    grows_with: ClassVar[tuple[str, ...]] = ()
    """Other fields, numbers, of which more takes more memory: `hikaku check` predicts with the largest value that a space allows."""

    marks: ClassVar[Mapping[str, str]] = {}
    """Field -> the letter before its value, a number, in the name of an MLflow run, e.g. `r` in `lora-r16-lr3.0e-4-s42`."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class with a forward pass of its own that generation would pass by in silence."""
        if "hidden_states" in vars(cls) and "causal" not in vars(cls):
            raise TypeError(f"{cls.__name__} overrides hidden_states without causal, by which it would generate")

    # -- before a model is loaded: `hikaku check`, and the record of a run -----------------------------------------

    @classmethod
    def check_names(cls, always: Collection[str], sometimes: Collection[str]) -> None:
        """Check which fields an arm's space names: those it gives to every trial, and those it gives under a condition only.

        Raises Refusal, with a key only where one name of the space is at fault. Values are checked against the fields before, and a
        method is built of what the space always gives after.
        """

    def recorded(self) -> dict[str, Any]:
        """Return field -> value of what follows from the fields and stands beside them in a run's MLflow params; usually nothing."""
        return {}

    @abstractmethod
    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return how many parameters will be trained in a model of this shape, tied weights once.

        A built model must have exactly as many: a trial whose count differs ends before its first step.
        """

    def kept_for_backward(self, shape: ModelShape, width: int) -> int:
        """Return the bytes per token that one layer keeps for backward on the method's account, as `hikaku check` predicts them.

        What attention, MLP and norms keep under any method is counted elsewhere (`trainables/costs.py`). `width` is the bytes of one
        value in the base's precision, 4 or 2. By default an upper bound: the input of each linear, in that precision.
        """
        return width * sum(d_in for d_in, _ in shape.linear_sizes().values())

    # -- a model is built ------------------------------------------------------------------------------------------

    def base_options(self) -> dict[str, Any]:
        """Return keyword arguments for transformers' `from_pretrained`, over those hikaku gives it; asked before the base is loaded.

        Here a method says that it needs the base in another form, e.g. quantised by a `quantization_config`.
        """
        return {}

    @abstractmethod
    def prepare(self, network: Any) -> Any:
        """Return the network as it will be trained: what is trained requires gradients, nothing else does.

        Called once, with a transformers model on the CPU in the study's precision. What is drawn at random is drawn from torch's
        global generator, which the trial has seeded.
        """

    def read_back(self, network: Any) -> dict[str, float]:
        """Return `method.FIELD` -> value as the built network has it, which the run records; asked once, before the first step.

        Raises AssertionError, naming both values, where the network is not what the fields ask for.
        """
        return {}

    # -- it computes: every forward pass in training, evaluation and generation goes through these two -------------------

    def causal(self, network: Any) -> Any:
        """Return the transformers causal model that holds embeddings, head and configuration, and that generates with the method in it."""
        return network

    def hidden_states(self, network: Any, input_ids: "Tensor", positions: "Tensor | None" = None) -> "Tensor":
        """Return the output before the head, [batch, time, hidden], of token ids [batch, time].

        Where `positions` [batch, time] begin again, a document begins: transformers then masks attention to those before it. A method
        whose forward pass is not the base's own (a learnt prefix, say) overrides this, and `causal` with it.
        """
        packed = {} if positions is None else {"position_ids": positions}
        return self.causal(network).base_model(input_ids=input_ids, use_cache=False, **packed).last_hidden_state

    # -- it is trained ---------------------------------------------------------------------------------------------

    def parameter_groups(self, network: Any, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimizer's groups over all parameters that train, none of them empty; asked once, before the first step.

        Each has `params` and what it sets apart from the optimizer's own: `weight_decay`, or an `lr` of its own, which the schedule
        scales like the others. The first group's rate must be `learning_rate`: it is the one that is recorded and read back. By default
        matrices decay; norms, biases and other vectors do not.
        """
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
            {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def after_step(self, network: Any, step: int, steps: int) -> None:
        """Change what a method changes while it trains; called on every worker after optimizer step `step`, from 1, of `steps`.

        Not after a step that was not taken because its gradient was no number. Gradients are gone by then: a method that needs them
        hooks its parameters in `prepare`.
        """

    # -- it is saved, and taken home ---------------------------------------------------------------------------------

    def save(self, network: Any, folder: Path, *, base: str | None = None, revision: str | None = None) -> None:
        """Write what was trained into an existing folder, as safetensors and JSON: no pickles. By default the whole model.

        Called on one worker with whole weights, at every checkpoint, at a trial's end and by `hikaku export`. The last says where
        others find the base, a hub id with its revision, or a folder: an adapter names it, a whole model has no need to.
        """
        network.save_pretrained(str(folder), safe_serialization=True)

    def load(self, network: Any, folder: Path) -> None:
        """Put what `save` wrote into a prepared network, bit for bit. Raises AssertionError where a weight is missing or unknown."""
        from safetensors.torch import load_file

        renamed = ARCHITECTURES[network.config.model_type].earlier_names  # which transformers still writes
        stored = (load_file(file).items() for file in sorted(folder.glob("*.safetensors")))
        weights = {renamed.get(name, name): tensor for tensors in stored for name, tensor in tensors}
        missing, unexpected = network.load_state_dict(weights, strict=False)
        # A tied weight is written once, under the name of the one it is tied to.
        untied = [name for name in missing if name not in (network.all_tied_weights_keys or {})]
        assert not untied, f"{folder}: weights are missing: {untied[:3]}"
        assert not unexpected, f"{folder}: unknown weights {unexpected[:3]}"

    def read_adapter(self, base: Any, folder: Path) -> Any:
        """Return a network made of a base model and the folder that `save` wrote, read as anyone reads it, without the trial's fields.

        `hikaku export` compares it with the trial. Asked only of a method that freezes its base.
        """
        raise NotImplementedError(f"method {self.name} saves no adapter")

    def merge(self, network: Any) -> Any:
        """Return a whole transformers model that needs no method any more; the network is used up. By default it is one already."""
        return network

    @property
    def scaled(self) -> Scaling | None:
        """Return a context, given a network and a factor, in which what was trained counts so many times as much; None where none can.

        Finalists of a method that has one are measured at several factors.
        """
        return None
