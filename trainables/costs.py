"""What a trial will cost, by formula from the model's shape: operations and memory. No torch."""

from dataclasses import dataclass
from pathlib import Path

from trainables.config import Batch, Precision, TrialConfig
from trainables.methods import Method
from trainables.shape import ModelShape, loss_chunk_tokens, read_model_shape

GIB = 2**30
ADAM_BYTES = 8  # two float32 moments


@dataclass(frozen=True)
class MemoryParts:
    """Bytes on one worker. Weights include float32 masters; activations are whatever else is alive at the peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def peak(self) -> int:
        """Return the sum of the parts."""
        return self.weights + self.gradients + self.optimizer + self.activations


def predict_memory(  # noqa: PLR0913, PLR0917  # what a trial is made of
    shape: ModelShape,
    method: Method,
    batch: Batch,
    precision: Precision,
    activation_checkpointing: bool,
    zero_stage: int,
    workers: int,
) -> MemoryParts:
    """Return the bytes that training will need on one worker.

    ZeRO shares out the optimizer's moments and masters from stage 1, gradients from stage 2, weights at stage 3 (Rajbhandari et al.
    2020, section 5). The peak is that of a step of several micro-batches, whose gradients are there while activations are.
    Not in it: what the device's libraries, the allocator's fragmentation and DeepSpeed's communication buckets take.
    """
    width, trainable = 4 if precision == "fp32" else 2, method.trainable_parameters(shape)
    frozen = shape.parameters() - (0 if method.freezes_base else trainable)
    trained_width = 4 if method.freezes_base else width  # what is added to a frozen base stays float32
    masters = 4 * trainable if trained_width == 2 else 0
    share = [workers if zero_stage >= stage else 1 for stage in range(4)]
    update = 4 * trainable // share[1] if masters else 0  # float32 gradients for the masters, after the activations are gone
    return MemoryParts(
        weights=(width * frozen + trained_width * trainable) // share[3] + masters // share[1],
        gradients=trained_width * trainable // share[2],
        optimizer=ADAM_BYTES * trainable // share[1],
        activations=max(update, _activation_bytes(shape, method, batch, width, activation_checkpointing)),
    )


def _activation_bytes(shape: ModelShape, method: Method, batch: Batch, width: int, activation_checkpointing: bool) -> int:
    """Return the bytes alive at the peak of a micro-batch: what backward needs of every layer, and the widest moment."""
    trains_head, hidden = not method.freezes_base, shape.hidden
    tokens = min(batch.micro_blocks, batch.blocks) * batch.sequence_length  # of a micro-batch
    layer = _saved_layer_bytes(shape, method, width)  # per token, as are `layers` and `ends`
    # Computed again, every layer keeps its input alone, and one layer at a time the rest.
    layers = shape.layers * width * hidden + layer if activation_checkpointing else shape.layers * layer
    ends = 8 + 4 * hidden + 4 + (width * hidden if trains_head else 0)  # token ids; the final norm
    logit_bytes = 4 + (width if width == 2 else 0)  # float32, and their gradient cast to half precision
    logit_bytes += 0 if shape.logit_cap is None else 4  # the slopes of the cap
    chunk = min(tokens, loss_chunk_tokens(shape.vocabulary)) * shape.vocabulary * logit_bytes
    head = 4 * shape.vocabulary * hidden if trains_head and width == 2 else 0  # the head's gradient, summed in float32
    loss = tokens * 2 * width * hidden + chunk + head
    if activation_checkpointing:
        loss -= tokens * layer  # no layer has been computed again yet
    backward = tokens * (3 * width * shape.intermediate + 2 * width * hidden)
    rotary = 2 * width * shape.head_size * batch.sequence_length  # cosines and sines, shared by all layers
    # The loss is over before a layer's backward begins, so the wider of the two moments is the peak.
    return tokens * (layers + ends) + rotary + max(loss, backward)


def _saved_layer_bytes(shape: ModelShape, method: Method, width: int) -> int:
    """Return the bytes that one layer keeps for backward per token: every operand whose partner needs a gradient."""
    queries, keys = shape.size("queries"), shape.size("keys")
    norms = sum(4 * shape.size(size) + 4 for name, size in shape.architecture.vectors.items() if name.endswith(".weight"))
    attention = width * (2 * queries + 2 * keys) + 4 * shape.heads  # queries, keys, values, output; log-sum-exp
    mlp = (3 if shape.architecture.is_gated else 1) * width * shape.intermediate  # gate, its silu, up; or what the function is of
    return norms + attention + mlp + method.kept_for_backward(shape, width)


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one trained token: the base's forward pass, and the whole step of a method."""

    forward: float
    step: float


def flops_per_token(shape: ModelShape, method: Method, sequence_length: int) -> Flops:
    """Return the operations that one token of a sequence needs, a multiplication and an addition counted as two.

    Counted as 2 x every matrix parameter used, head included (Kaplan et al. 2020, section 2.1); causal attention at half of its
    square; backward costs the same again for the inputs and, where a matrix is trained, for its weights; attention's backward
    is twice its forward. Frozen matrices have no weight gradients. What is computed again (activation checkpointing, the
    flash kernel's backward) is not useful work and is left out, as are vectors: biases, norms, softmax.
    """
    matrices = 2 * (shape.linear_parameters() + shape.vocabulary * shape.hidden)
    attention = shape.layers * 2 * shape.heads * shape.head_size * sequence_length  # scores and values: 2 x 2 x T / 2
    forward = float(matrices + attention)
    trained = 2 * method.trainable_parameters(shape)
    # What is added computes forward, and backward for its inputs and weights; of the base's own there is the weights' gradient to add.
    extra = 3 * trained if method.freezes_base else min(trained, matrices)
    return Flops(forward=forward, step=forward + matrices + 2 * attention + extra)


def predict_peak_gib(config: TrialConfig) -> float:
    """Return the peak memory of one worker as `hikaku check` predicts it, in GiB."""
    shape, model, engine = read_model_shape(Path(config.model.folder)), config.model, config.engine
    parts = predict_memory(
        shape, config.method, config.batch, model.precision, model.activation_checkpointing, engine.zero_stage, engine.workers
    )
    return parts.peak / GIB
