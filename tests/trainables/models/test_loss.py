from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainables.models.loss import IGNORED, Head, linear_cross_entropy, token_nats
from trainables.training.live_tensors import LiveTensors, storage_bytes

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy((hidden @ weight.T).float(), targets, ignore_index=IGNORED, reduction="sum")


def chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return linear_cross_entropy(hidden, Head(weight), targets)


def make_case(
    tokens: int, vocabulary: int, size: int, *, trained_head: bool, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, size, generator=generator).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, size, generator=generator) / size**0.5).to(dtype).requires_grad_(trained_head)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    targets[: tokens // 8] = IGNORED
    return hidden, weight, targets


def run(loss: Loss, hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[float, Tensor, Tensor | None, int]:
    """Return loss, gradients, and the peak of live bytes above inputs and the head's own gradient."""
    hidden.grad = weight.grad = None
    with LiveTensors(before=(hidden, weight, targets)) as live:
        value = loss(hidden, weight, targets)
        value.backward()
    assert hidden.grad is not None
    gradient = 0 if weight.grad is None else storage_bytes([weight.grad])
    return value.item(), hidden.grad, weight.grad, live.peak - gradient


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("tokens", [1, 255, 256, 700])
def test_equals_plain_cross_entropy(tokens: int, trained_head: bool) -> None:
    case = make_case(tokens, 997, 48, trained_head=trained_head)
    ours, theirs = run(chunked, *case), run(plain, *case)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    if tokens > 1:
        assert distance(ours[1], theirs[1]) < 1e-6
    if ours[2] is not None and theirs[2] is not None and tokens > 1:
        assert distance(ours[2], theirs[2]) < 1e-6
    assert (ours[2] is not None) == trained_head


def test_scaled_backward() -> None:
    hidden, weight, targets = make_case(300, 97, 16, trained_head=True)
    gradients = []
    for loss in (chunked, plain):
        hidden.grad = weight.grad = None
        (0.25 * loss(hidden, weight, targets)).backward()
        assert hidden.grad is not None
        assert weight.grad is not None
        gradients.append((hidden.grad, weight.grad))
    assert distance(gradients[0][0], gradients[1][0]) < 1e-6
    assert distance(gradients[0][1], gradients[1][1]) < 1e-6


def test_bf16_loss_is_that_of_its_own_logits() -> None:
    hidden, weight, targets = make_case(600, 4001, 64, trained_head=False, dtype=torch.bfloat16)
    truth = torch.nn.functional.cross_entropy((hidden @ weight.T).double(), targets, ignore_index=IGNORED, reduction="sum")
    assert chunked(hidden, weight, targets).item() == pytest.approx(truth.item(), rel=1e-5)


def test_token_nats_equal_a_float64_oracle() -> None:
    hidden, weight, targets = make_case(600, 997, 48, trained_head=False)
    logits = hidden.detach().double() @ weight.double().T
    oracle = torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
    nats, hits = token_nats(hidden, Head(weight), targets)
    assert torch.allclose(nats.double(), oracle, atol=1e-5)
    assert torch.equal(hits, logits.argmax(dim=1) == targets)
    for rows in token_nats(hidden.view(2, 300, 48), Head(weight), targets.view(2, 300)):
        assert rows.shape == (2, 300)


@pytest.mark.parametrize("trained_head", [False, True])
def test_logits_are_never_whole(trained_head: bool) -> None:
    case = make_case(4096, 4000, 16, trained_head=trained_head)
    assert run(chunked, *case)[3] * 8 < run(plain, *case)[3]


@pytest.mark.proof
@pytest.mark.parametrize("trained_head", [False, True])
def test_memory_at_the_home_case(trained_head: bool) -> None:
    """Hidden 896, 151,936 words, 2,048 tokens: at least eight times less, same loss and gradients."""
    case = make_case(2048, 151_936, 896, trained_head=trained_head)
    ours, theirs = run(chunked, *case), run(plain, *case)
    print(f"extra peak memory {theirs[3] / ours[3]:.1f} times less: {ours[3] / 2**20:.0f} MiB beside {theirs[3] / 2**20:.0f} MiB")
    assert theirs[3] >= 8 * ours[3]
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    assert distance(ours[1], theirs[1]) < 1e-6
    if ours[2] is not None and theirs[2] is not None:
        assert distance(ours[2], theirs[2]) < 1e-6


def test_without_grad_no_gradient_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(64, 97, 8, trained_head=True)
    trained = chunked(*case).item()
    monkeypatch.setattr("trainables.models.loss._differentiate", lambda *_: pytest.fail("a gradient was taken"))
    with torch.no_grad():
        assert chunked(*case).item() == trained


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_cap_and_a_bias_are_those_of_the_logits(cap: float | None, with_bias: bool) -> None:
    hidden, weight, targets = make_case(300, 97, 16, trained_head=True)
    bias = torch.randn(97, generator=torch.Generator().manual_seed(4)).requires_grad_() if with_bias else None
    head = Head(weight, bias, cap)
    leaves = [hidden, weight, *([] if bias is None else [bias])]
    ours = linear_cross_entropy(hidden, head, targets)
    gradients = torch.autograd.grad(ours, leaves)
    logits = hidden @ weight.T + (0 if bias is None else bias)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    theirs = torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for mine, other in zip(gradients, torch.autograd.grad(theirs, leaves), strict=True):
        assert distance(mine, other) < 1e-6
    torch.testing.assert_close(head.logits(hidden.detach()), logits.detach())
