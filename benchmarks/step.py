"""One training step of a model shape, ours beside transformers + PEFT as their documents show it, in one run.

Ours is the backbone's forward with the chunked loss of `trainables.models.loss`; the peer is `model(input_ids, labels=labels).loss`, which
holds the logits whole. Both train the same random weights with AdamW on the same tokens, alternating, and medians are reported.
Needs torch, transformers and peft alone: no Ray, no DeepSpeed.

    python benchmarks/step.py --shape small --rows 8 --length 256
    python benchmarks/step.py --shape qwen2.5-0.5b --rows 4 --length 2048 --precision bf16 --checkpointing      on a GPU
    python benchmarks/step.py --write docs/benchmarks.md                                                        the CPU tables of the docs
"""

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from benchmarks.page import describe_command, write_between
from trainables.config import Precision
from trainables.costs import GIB, flops_per_token
from trainables.group import DTYPES
from trainables.methods import Method
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.loss import linear_cross_entropy
from trainables.models.model import LanguageModel
from trainables.models.pretraining import build_qwen2
from trainables.models.recipes import RECIPES, embedded_shape
from trainables.shape import ModelShape, read_model_shape
from trainables.training.live_tensors import LiveTensors, storage_bytes

SHAPES = {name: embedded_shape(recipe) for name, recipe in RECIPES.items()} | {
    "qwen2.5-0.5b": ModelShape(896, 24, 14, 2, 64, 4864, 151_936, tied_embeddings=True, attention_bias=True, context=32_768),
}
# Dense bf16 peaks without sparsity, from the vendors' data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "A10G": 125e12, "RTX 4090": 165e12}
METHODS: dict[str, Method] = {"LoRA r16 q,k,v,o": Lora(rank=16, alpha=32.0), "full": Full()}
Loss = Callable[[LanguageModel, torch.Tensor], torch.Tensor]
START, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Case:
    """What is measured."""

    shape_name: str
    shape: ModelShape
    rows: int
    length: int
    precision: Precision
    checkpointing: bool
    steps: int


@dataclass(frozen=True)
class Measured:
    """One side of one method: medians over the steps."""

    method: str
    side: str
    tokens_per_second: float
    peak_share: float
    weights_gib: float
    gradients_gib: float
    optimizer_gib: float
    extra_gib: float


def main() -> None:
    """Measure what the arguments ask for, and print or write the tables."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).splitlines()[0])
    parser.add_argument("--shape", default="small", help=f"one of {', '.join(SHAPES)}, or a model folder")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--write", type=Path, help="measure the two CPU tables of the docs and write them into this page")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.write is not None:
        tables = [measure_table(case) for case in cases_of_page(options.steps)]
        write_between(options.write, START, END, "\n\n".join([f"{describe_command()}.", *tables]))
        return
    shape = SHAPES[options.shape] if options.shape in SHAPES else read_model_shape(Path(options.shape))
    shape = replace(shape, layers=options.layers) if options.layers else shape
    case = Case(options.shape, shape, options.rows, options.length, options.precision, options.checkpointing, options.steps)
    print(measure_table(case))


def cases_of_page(steps: int) -> list[Case]:
    """Return what docs/benchmarks.md shows of a CPU: the embedded model, and as much of a real one as is quick there."""
    few_layers = replace(SHAPES["qwen2.5-0.5b"], layers=2)
    return [
        Case("small", SHAPES["small"], rows=8, length=256, precision="fp32", checkpointing=False, steps=steps),
        Case("qwen2.5-0.5b", few_layers, rows=1, length=512, precision="fp32", checkpointing=False, steps=max(3, steps // 2)),
    ]


def measure_table(case: Case) -> str:
    """Return a case's table, measured now."""
    device, peak = find_device(case.precision)
    return render_table(case, measure(case, device, peak), device, peak)


def measure(case: Case, device: torch.device, peak: float) -> list[Measured]:
    """Return both sides of both methods; sides alternate step by step, so that what the machine does besides falls on both."""
    results: list[Measured] = []
    for name, method in METHODS.items():
        sides = {side: Side(case, method, device, loss) for side, loss in (("hikaku", our_loss), ("transformers + PEFT", their_loss))}
        for _ in range(case.steps):
            for side in sides.values():
                side.step()
        flops = flops_per_token(case.shape, method, case.length).step
        results += [side.result(name, label, flops, peak) for label, side in sides.items()]
        del sides
        gc.collect()
    return results


class Side:
    """A model in training one way."""

    def __init__(self, case: Case, method: Method, device: torch.device, loss: Loss) -> None:
        torch.manual_seed(0)
        self._case, self._loss, self._device = case, loss, device
        network = build_qwen2(case.shape, 0).to(device=device, dtype=DTYPES[case.precision])
        if case.checkpointing:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._model = LanguageModel(method.prepare(network), method).train()
        trained = [each for each in self._model.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self._tokens = torch.randint(0, case.shape.vocabulary, (case.rows, case.length + 1), device=device)
        self._seconds: list[float] = []
        self._extra = 0

    def step(self) -> None:
        """Train one step; memory is counted in the first, which is not timed."""
        if not self._seconds and not self._extra:
            self._extra = self._watch()
            return
        self._synchronise()
        began = time.perf_counter()
        self._train()
        self._synchronise()
        self._seconds.append(time.perf_counter() - began)

    def result(self, method: str, side: str, flops: float, peak: float) -> Measured:
        """Return medians over the timed steps; the first of them warms up and is left out."""
        speed = self._case.rows * self._case.length / statistics.median(self._seconds[1:] or self._seconds)
        trained = [each for each in self._model.parameters() if each.requires_grad]
        states = [value for each in trained for value in self._optimizer.state[each].values()]
        gradients = sum(each.numel() * each.element_size() for each in trained)
        parts = (storage_bytes(self._model.parameters()), gradients, storage_bytes(states), self._extra)
        return Measured(method, side, speed, speed * flops / peak, *(part / GIB for part in parts))

    def _train(self) -> None:
        bf16 = self._model.method.freezes_base and self._case.precision != "fp32"
        with torch.autocast(self._device.type, dtype=DTYPES[self._case.precision], enabled=bf16):
            loss = self._loss(self._model, self._tokens)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _watch(self) -> int:
        """Return the peak bytes of a step above weights, gradients and optimizer states."""
        self._train()  # makes the optimizer's states
        trained = [each for each in self._model.parameters() if each.requires_grad]
        gradients = sum(each.numel() * each.element_size() for each in trained)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self._train()
            return max(1, torch.cuda.max_memory_allocated() - before - gradients)
        with LiveTensors() as live:
            self._train()
        return max(1, live.peak - gradients)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def our_loss(model: LanguageModel, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean nats by our chunked loss."""
    targets = tokens[:, 1:]
    return linear_cross_entropy(model.hidden_states(tokens[:, :-1]), model.head, targets) / targets.numel()


def their_loss(model: LanguageModel, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean nats as transformers computes them."""
    return model.network(input_ids=tokens[:, :-1], labels=tokens[:, :-1], use_cache=False).loss


def find_device(precision: Precision) -> tuple[torch.device, float]:
    """Return the device and its peak FLOP/s: the data sheet's on a known GPU, a measured matrix product's on a CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu"), measure_peak(torch.device("cpu"), precision)
    name = torch.cuda.get_device_name()
    known = next((peak for part, peak in PEAKS.items() if part in name), None)
    return torch.device("cuda"), known or measure_peak(torch.device("cuda"), precision)


def measure_peak(device: torch.device, precision: Precision, size: int = 2048) -> float:
    """Return the FLOP/s of a square matrix product, the best of ten."""
    left = torch.randn(size, size, device=device, dtype=DTYPES[precision])

    def times() -> Iterator[float]:
        for _ in range(10):
            began = time.perf_counter()
            (left @ left).sum().item()
            yield time.perf_counter() - began

    return 2 * size**3 / min(times())


def render_table(case: Case, results: list[Measured], device: torch.device, peak: float) -> str:
    """Return a markdown table with the device's name and the model's sizes."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    checkpointing = ", activation checkpointing" if case.checkpointing else ""
    sizes = f"{case.shape.layers} layers of {case.shape.hidden}, {case.shape.parameters():,} parameters"
    what = f"**{case.shape_name}** ({sizes}), {case.rows} x {case.length} tokens, {case.precision}{checkpointing}"
    lines = [
        f"{what}; {name}, torch {torch.__version__}.",
        f"Peak taken as {peak / 1e9:,.0f} GFLOP/s.",
        "",
        "| method | side | tokens/s | share of peak | weights GiB | gradients GiB | optimizer GiB | extra at peak GiB | speed, ours over theirs | extra, theirs over ours |",  # noqa: E501
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ours, theirs in zip(results[::2], results[1::2], strict=True):
        for each in (ours, theirs):
            ratios = (
                f"{ours.tokens_per_second / theirs.tokens_per_second:.2f} | {theirs.extra_gib / ours.extra_gib:.2f}"
                if each is ours
                else " | "
            )
            memory = f"{each.weights_gib:.3f} | {each.gradients_gib:.3f} | {each.optimizer_gib:.3f} | {each.extra_gib:.3f}"
            lines.append(f"| {each.method} | {each.side} | {each.tokens_per_second:,.0f} | {each.peak_share:.1%} | {memory} | {ratios} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
