"""The memory that hikaku predicts beside what a training step takes: one worker on a CPU, in float32, over many settings.

The model is random and small, so that activations outweigh weights, which is where a prediction may err. What is measured is what
`efficiency/peak_memory_gib` is in a run: the bytes of all tensors alive at the widest moment of a step.

    python benchmarks/memory.py
    python benchmarks/memory.py --write docs/benchmarks.md      puts the table into the page
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.page import describe_command, write_between
from trainables.config import Batch
from trainables.costs import GIB, MemoryParts, predict_memory
from trainables.methods import Method
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.loss import linear_cross_entropy
from trainables.models.model import LanguageModel
from trainables.models.pretraining import build_qwen2
from trainables.shape import ModelShape
from trainables.training.meters import MemoryMeter

START, END = "<!-- memory: begin -->", "<!-- memory: end -->"
SHAPE = ModelShape(96, 3, 4, 2, 24, 256, 600, tied_embeddings=True, attention_bias=True, context=1024)
LOW = 0.10  # how much less than is measured may be predicted, relative
ROWS = 4  # blocks of a micro-batch
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """What memory depends on."""

    method: Method
    length: int
    checkpointing: bool

    @property
    def name(self) -> str:
        """Return the method with the fields that decide."""
        if isinstance(self.method, Lora):
            return f"lora, rank {self.method.rank}, {self.method.targets}, dropout {self.method.dropout:g}"
        return self.method.name


def list_settings() -> Iterator[Setting]:
    """Yield every combination that is measured."""
    loras: list[Method] = [
        Lora(rank=rank, alpha=16.0, targets=targets, dropout=dropout)
        for rank, targets, dropout in itertools.product((4, 64), ("query_value", "attention", "all_linear"), (0.0, 0.1))
    ]
    for method, length, checkpointing in itertools.product([*loras, Full()], (64, 512), (False, True)):
        yield Setting(method, length, checkpointing)


def measure_step(setting: Setting) -> dict[str, float]:
    """Return the metrics of memory that a run would have after the second training step, in GiB."""
    torch.manual_seed(0)
    base = build_qwen2(SHAPE, 0)
    if setting.checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = LanguageModel(setting.method.prepare(base), setting.method).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, meter = torch.optim.AdamW(trained), MemoryMeter(model)
    tokens = torch.randint(0, SHAPE.vocabulary, (ROWS, setting.length + 1))

    def train(watched: AbstractContextManager[None]) -> dict[str, torch.Tensor]:
        with watched:  # the gradients of the step before are there, as between the micro-batches of one step
            linear_cross_entropy(model.hidden_states(tokens[:, :-1]), model.head, tokens[:, 1:]).backward()
        optimizer.step()
        return {f"{name}/{i}": value for i, each in enumerate(trained) for name, value in optimizer.state[each].items()}

    state = train(nullcontext())
    train(meter.watch(state))
    return meter.metrics(state, 1)


def measure_peak(setting: Setting) -> float:
    """Return the peak of that step, in bytes."""
    return measure_step(setting)["efficiency/peak_memory_gib"] * GIB


def predict(setting: Setting) -> MemoryParts:
    """Return what `hikaku check` would print."""
    batch = Batch(sequence_length=setting.length, blocks=ROWS, micro_blocks=ROWS)
    return predict_memory(SHAPE, setting.method, batch, "fp32", setting.checkpointing, 0, 1)


def main() -> None:
    """Print the table, or put it into a page; exit code 1 where a prediction is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    measured = [(setting, predict(setting).peak, measure_peak(setting)) for setting in list_settings()]
    table, lowest = render(measured)
    print(table)
    if options.write:
        write_between(options.write, START, END, table)
    sys.exit(0 if lowest >= -LOW else 1)


def render(measured: Sequence[tuple[Setting, float, float]]) -> tuple[str, float]:
    """Return the table, and the lowest of the predictions' relative errors."""
    errors = [predicted / peak - 1 for _, predicted, peak in measured]
    lines = [
        f"{describe_command()}: {SHAPE.layers} layers of {SHAPE.hidden}, {ROWS} blocks at once, float32. Peaks in MiB; the error is of the",
        "prediction, relative to what was measured.",
        "",
        "| setting | tokens of a block | checkpointing | predicted | measured | error |",
        "|---|---:|---|---:|---:|---:|",
        *(
            f"| {setting.name} | {setting.length} | {'yes' if setting.checkpointing else 'no'} "
            f"| {predicted / MIB:.2f} | {peak / MIB:.2f} | {error:+.1%} |"
            for (setting, predicted, peak), error in zip(measured, errors, strict=True)
        ),
        "",
        f"**{len(errors)} settings: from {min(errors):+.1%} to {max(errors):+.1%}.**",
    ]
    return "\n".join(lines), min(errors)


if __name__ == "__main__":
    main()
