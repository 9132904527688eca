"""The one door to DeepSpeed: forward, backward and step of one trial, over one or more workers, ZeRO stage 0 to 3.

What is trained, in which type: a method that freezes the base (LoRA) keeps it in bf16 and its adapters in fp32, computed under
autocast, with DeepSpeed's own `bf16` off, since it would cast the adapters. One that trains the base's own weights (full fine-tuning)
lets DeepSpeed hold bf16 weights and fp32 masters.
The optimizer and the learning-rate schedule are torch's: DeepSpeed's own compile for a minute or start at rate 0.
"""

import inspect
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from records.refusals import Refusal
from trainables.config import TrialConfig
from trainables.group import autocast, device_of_worker, join_group
from trainables.models.loss import IGNORED
from trainables.models.model import LanguageModel, NatsModule
from trainables.training.schedule import learning_rate_factor

LINEAR = nn.functional.linear  # torch's own: ZeRO 3 puts another in its place, for the whole process
PERSISTENT_PARAMETERS = 100_000  # ZeRO 3 leaves smaller tensors whole on every worker (DeepSpeed's own default)
REDUCE_BUCKET = 50_000_000  # gradients summed over workers at once; the buffer is made whole, at DeepSpeed's default of ten times as many


@dataclass(frozen=True)
class Step:
    """One optimizer step: mean nats per trained token, gradient norm before clipping, the rate it was taken with."""

    loss: float
    gradient_norm: float | None
    learning_rate: float
    tokens: int
    flags: int  # how many workers raised their flag in this step

    @property
    def finite(self) -> bool:
        """Return whether loss and gradient are numbers; the same answer on every worker."""
        return math.isfinite(self.loss) and (self.gradient_norm is None or math.isfinite(self.gradient_norm))


class Engine:
    """A prepared model in training."""

    def __init__(self, model: LanguageModel, config: TrialConfig, steps: int) -> None:
        self.rank, self.world_size = join_group()
        self.device = device_of_worker()
        self.model = model
        self._config, self._steps = config, steps
        self._micro_batches = micro_batches_per_worker(config, self.world_size)
        self.autocast = partial(autocast, config)
        optimizer = build_optimizer(model, config)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(config.schedule, step, steps))
        self._scheduler = scheduler
        self._loss_scale = 1.0
        # DeepSpeed scales the loss where it trains the fp16 weights themselves; over a frozen fp16 base it is ours to do.
        self._scales_loss = config.method.freezes_base and config.model.precision == "fp16"
        if self._scales_loss:
            _unscale_gradients(model, lambda: self._loss_scale)
        self._deepspeed = _initialize(NatsModule(model), optimizer, scheduler, config, self._micro_batches)

    @property
    def learning_rate(self) -> float:
        """Return the rate of the next step, read back from the optimizer."""
        return float(self._deepspeed.basic_optimizer.param_groups[0]["lr"])

    @property
    def peak_learning_rate(self) -> float:
        """Return the highest rate of the schedule, read back from the optimizer."""
        return float(self._deepspeed.basic_optimizer.param_groups[0]["initial_lr"])

    def train_step(self, inputs_nt: Tensor, targets_nt: Tensor, positions_nt: Tensor, *, flag: bool = False) -> Step:
        """Train one step on this worker's blocks [n, sequence_length] and return what happened, the same on all workers.

        Targets that are IGNORED are not trained. The loss is the nats of all micro-batches and workers over the trained tokens of
        the step, so it does not depend on how the step is divided. Weights stay as they were where loss or gradient is not finite.
        """
        inputs, targets, positions = (blocks_nt.to(self.device).long() for blocks_nt in (inputs_nt, targets_nt, positions_nt))
        tokens = self._sum((targets != IGNORED).sum())  # of all workers: each divides its loss by the same number
        total = torch.zeros((), dtype=torch.float64, device=self.device)  # nats
        # The loss is scaled up by what it is divided by, until the gradient has left the fp16 graph.
        if self._scales_loss:
            self._loss_scale = tokens / self.world_size
        micro_batches = list(zip(*map(self._divide, (inputs, targets, positions)), strict=True))
        for index, micro_batch in enumerate(micro_batches, start=1):
            self._deepspeed.set_gradient_accumulation_boundary(index == len(micro_batches))
            with self.autocast():
                nats = self._deepspeed(*micro_batch)
            total += nats.detach()
            # DeepSpeed averages over workers; times their number, the average is the sum again.
            self._deepspeed.backward(nats * (self._loss_scale * self.world_size / tokens), scale_wrt_gas=False)
        # Loss and flag in one message. A loss that is no number on one worker is none on any: all skip the update, or none.
        sums = torch.stack([total, torch.tensor(float(flag), dtype=torch.float64, device=self.device)])
        dist.all_reduce(sums)
        learning_rate = self.learning_rate  # before the update, which moves the schedule on
        loss = sums[0].item() / tokens
        norm = self._update() if math.isfinite(loss) else None
        if norm is not None and math.isfinite(norm):
            self.model.method.after_step(self.model.network, self._scheduler.last_epoch, self._steps)
        return Step(loss=loss, gradient_norm=norm, learning_rate=learning_rate, tokens=int(tokens), flags=int(sums[1].item()))

    def _divide(self, blocks: Tensor) -> Sequence[Tensor]:
        return blocks.split(self._config.batch.micro_blocks)

    def _sum(self, value: Tensor) -> float:
        total = value.double()
        dist.all_reduce(total)
        return total.item()

    def _update(self) -> float | None:
        """Clip, step, and return the gradient's norm before clipping; infinite where the step was not taken."""
        if self._clips_itself:
            parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
            largest = self._config.optimizer.clip_norm or math.inf
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, largest))
            if math.isfinite(norm):
                self._deepspeed.step()
            return norm
        self._deepspeed.step()
        norm = self._deepspeed.get_global_grad_norm()
        norm = math.inf if norm is None or norm < 0 else float(norm)  # DeepSpeed says -1 for what is not finite
        if self._config.model.precision == "fp16" and not math.isfinite(norm):
            return None  # the step was skipped, as happens while the loss scale is being found
        return norm

    @property
    def _clips_itself(self) -> bool:
        """Return whether the gradients lie whole in `.grad`: plain fp32, where DeepSpeed tells no norm."""
        return self._deepspeed.optimizer is self._deepspeed.basic_optimizer

    @contextmanager
    def whole(self) -> Iterator[LanguageModel]:
        """Give the model with whole weights on every worker: under ZeRO 3 they are gathered, and DeepSpeed's hooks rest."""
        if self._config.engine.zero_stage < 3:
            yield self.model
            return
        from deepspeed.runtime.zero.stage3 import unwrap_model_for_generation

        with unwrap_model_for_generation(self._deepspeed):
            yield self.model

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return this worker's optimizer state: tensors (fp32 masters and moments, its own shard), and numbers for JSON."""
        tensors = {}
        for index, master in enumerate(self._masters()):
            if not self._clips_itself:
                tensors[f"master/{index}"] = master.detach()
            for name, value in self._deepspeed.basic_optimizer.state.get(master, {}).items():
                tensors[f"{name}/{index}"] = value
        return tensors, {"scheduler": self._scheduler.last_epoch, "skipped_steps": self._deepspeed.skipped_steps}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take up a saved state; the model's weights were loaded before the engine was built."""
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            name, _, index = key.rpartition("/")
            states.setdefault(int(index), {})[name] = value
        for index, master in enumerate(self._masters()):
            state = {name: value.to(master.device) if name != "step" else value for name, value in states.get(index, {}).items()}
            if "master" in state:
                master.data.copy_(state.pop("master"))
            if state:
                self._deepspeed.basic_optimizer.state[master] = state
        self._deepspeed.skipped_steps = numbers["skipped_steps"]
        self._scheduler.last_epoch = numbers["scheduler"]
        for group in self._deepspeed.basic_optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._scheduler.lr_lambdas[0](numbers["scheduler"])

    def _masters(self) -> list[Tensor]:
        """Return the tensors that AdamW updates, this worker's share of them."""
        shards = getattr(self._deepspeed.optimizer, "fp32_partitioned_groups_flat", None)  # ZeRO 3 keeps them out of the groups
        if shards is not None:
            return list(shards)
        return [parameter for group in self._deepspeed.basic_optimizer.param_groups for parameter in group["params"]]

    def close(self) -> None:
        """Take DeepSpeed's hooks and buffers off the model; the process group stays."""
        self._deepspeed.destroy()
        if self._config.engine.zero_stage == 3:
            nn.functional.linear = LINEAR
            _forget_modules()


def micro_batches_per_worker(config: TrialConfig, world_size: int) -> int:
    """Return how many forward passes one worker makes in a step. Raises ValueError where workers cannot share a step evenly."""
    blocks = config.batch.blocks
    if blocks % world_size:
        raise Refusal("batch.blocks", blocks, f"a multiple of the workers ({world_size})")
    return math.ceil(blocks / world_size / config.batch.micro_blocks)


def build_optimizer(model: LanguageModel, config: TrialConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters, in the method's groups."""
    optimizer = config.optimizer
    rate, decay = optimizer.learning_rate, optimizer.weight_decay
    return torch.optim.AdamW(
        model.method.parameter_groups(model.network, learning_rate=rate, weight_decay=decay),
        lr=optimizer.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.epsilon,
    )


def _unscale_gradients(model: nn.Module, scale: Callable[[], float]) -> None:
    """Divide each trainable parameter's gradient by the loss scale where it leaves the fp16 graph, before anything sees it.

    Over an fp16 base the gradient of a token must not be divided by the tokens of the step before it reaches the fp32 adapters: it
    would underflow. (DeepSpeed's own autocast scales too, but keeps its scaler for every later trial of the process.)
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient / scale())


def _initialize(module: NatsModule, optimizer: Any, scheduler: Any, config: TrialConfig, micro_batches: int) -> Any:
    device = device_of_worker()
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    os.environ.setdefault("LOCAL_RANK", str(device.index or 0))  # asked for, even in a process group of one
    warnings.filterwarnings("ignore", message=".* is deprecated", category=FutureWarning)  # DeepSpeed's and peft's, at every call
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # An all-reduce for inference, compiled for half a minute at a process's first start and never called in training.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    trains_base = not config.method.freezes_base
    bf16, fp16 = trains_base and config.model.precision == "bf16", trains_base and config.model.precision == "fp16"
    # Below fp32 DeepSpeed's stage 0 takes a step of its own on zero gradients first: AdamW decays once more and its bias corrections
    # are a step ahead. Stage 1 shares optimizer states out besides, and is right.
    stage = max(config.engine.zero_stage, int(bf16 or fp16))
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    settings = {
        "train_micro_batch_size_per_gpu": config.batch.micro_blocks,
        "gradient_accumulation_steps": micro_batches,
        "gradient_clipping": config.optimizer.clip_norm if stage else 0.0,
        "zero_optimization": {
            "stage": stage,
            "stage3_param_persistence_threshold": PERSISTENT_PARAMETERS,
            "reduce_bucket_size": min(REDUCE_BUCKET, trained),
        },
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": bf16},
        "fp16": {"enabled": fp16},
        "steps_per_print": 2**31,
    }
    if stage == 3:
        head = module.model.head
        for parameter in (head.weight, *([] if head.bias is None else [head.bias])):
            deepspeed.zero.register_external_parameter(module, parameter)
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, lr_scheduler=scheduler, config=settings, dist_init_required=False)
    return engine


def _forget_modules() -> None:
    """Empty what ZeRO 3 keeps for the life of the process, which would keep every trial's weights alive."""
    from deepspeed.runtime.zero import parameter_offload

    parameter_offload.FWD_MODULE_STACK.clear()
    releases = vars(parameter_offload.PartitionedParameterCoordinator)["_PartitionedParameterCoordinator__params_to_release"]
    inspect.getclosurevars(releases).nonlocals["func"].cache_clear()  # an lru_cache of modules, inside a wrapper
