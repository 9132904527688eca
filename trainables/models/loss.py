"""Cross-entropy of a linear head, chunk by chunk: the logits of a batch are never held whole."""

from typing import Any

import torch
from torch import Tensor

from trainables.shape import loss_chunk_tokens

IGNORED = -100  # a target that is not counted


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of each chunk is taken while its logits are at hand, so backward only scales."""

    @staticmethod
    def forward(ctx: Any, hidden_td: Tensor, weight_vd: Tensor, targets_t: Tensor, chunk_tokens: int) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        hidden_grad = torch.empty_like(hidden_td) if wants_hidden else None
        weight_grad = torch.zeros_like(weight_vd, dtype=torch.float32) if wants_weight else None  # summed over chunks, so in float32
        total = torch.zeros((), dtype=torch.float64, device=hidden_td.device)  # thousands of tokens are summed
        for start in range(0, hidden_td.shape[0], chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            logits_tv = _product(hidden_td[rows], weight_vd.T)
            nats_t, scale_t1, _ = _exponentiate(logits_tv, targets_t[rows])
            total += nats_t.sum(dtype=torch.float64)
            if not (wants_hidden or wants_weight):
                continue
            _differentiate(logits_tv, scale_t1, targets_t[rows])
            # In the weights' own type, as autograd would have it: the products then take the fast units.
            logits_tv = logits_tv.to(weight_vd.dtype)
            if hidden_grad is not None:
                torch.mm(logits_tv, weight_vd, out=hidden_grad[rows])
            if weight_grad is not None:
                _add_product(weight_grad, logits_tv.T, hidden_td[rows])
            del logits_tv  # before the next chunk's are made
        ctx.gradients = hidden_grad, None if weight_grad is None else weight_grad.to(weight_vd.dtype)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        # Handed over, not kept: .grad can then take the head's gradient without a copy.
        assert ctx.gradients is not None, "the gradients of this loss were taken before"
        (hidden_grad, weight_grad), ctx.gradients = ctx.gradients, None
        for gradient in (hidden_grad, weight_grad):
            if gradient is not None:
                gradient.mul_(grad_outputs[0])
        return hidden_grad, weight_grad, None, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int | None = None) -> Tensor:
    """Return the sum of nats, a float32 scalar, of `targets` under softmax(hidden @ weight.T).

    hidden [..., d], weight [v, d], targets [...] with IGNORED where nothing is to be learnt. Differentiable once, in hidden, and in
    weight where it requires a gradient. `chunk_tokens` is chosen by the vocabulary where it is None.
    """
    if not torch.is_grad_enabled():  # autograd functions are told that a weight wants its gradient even then
        hidden, weight = hidden.detach(), weight.detach()
    hidden_td, targets_t = hidden.reshape(-1, hidden.shape[-1]).to(weight.dtype), targets.reshape(-1)
    with torch.autocast(hidden.device.type, enabled=False):
        loss = _LinearCrossEntropy.apply(hidden_td, weight, targets_t, chunk_tokens or loss_chunk_tokens(weight.shape[0]))
    assert isinstance(loss, Tensor)
    return loss


@torch.no_grad()
def token_nats(hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int | None = None) -> tuple[Tensor, Tensor]:
    """Return float32 nats and bool hits, both shaped like `targets`: whether no token was likelier. 0 and False where IGNORED."""
    hidden_td = hidden.reshape(-1, hidden.shape[-1]).to(weight.dtype)
    targets_t = targets.reshape(-1)
    nats_t = torch.empty(targets_t.shape, dtype=torch.float32, device=hidden.device)
    hits_t = torch.empty(targets_t.shape, dtype=torch.bool, device=hidden.device)
    chunk_tokens = chunk_tokens or loss_chunk_tokens(weight.shape[0])
    # Autocast would compute the product in half precision; the caller's precision is the weights' own.
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, hidden_td.shape[0], chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            logits_tv = _product(hidden_td[rows], weight.T)
            nats_t[rows], _, hits_t[rows] = _exponentiate(logits_tv, targets_t[rows])
    return nats_t.reshape(targets.shape), hits_t.reshape(targets.shape)


def _exponentiate(logits_tv: Tensor, targets_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return nats [t], the scale [t, 1] that makes probabilities of the logits, and whether no token was likelier [t].

    The logits become exp(logit - largest) in place. All three are 0 where the target is IGNORED.
    """
    counted_t1 = (targets_t != IGNORED).unsqueeze(1)
    places_t1 = targets_t.clamp(min=0).unsqueeze(1)  # IGNORED is no column; what is picked there is multiplied by 0 below
    picked_t1 = logits_tv.gather(1, places_t1)  # before the logits are overwritten
    largest_t1 = logits_tv.amax(dim=1, keepdim=True)  # subtracted, so that exp cannot overflow
    sums_t1 = logits_tv.sub_(largest_t1).exp_().sum(dim=1, keepdim=True)
    nats_t1 = (sums_t1.log() + largest_t1 - picked_t1) * counted_t1
    hits_t1 = (picked_t1 >= largest_t1) & counted_t1
    return nats_t1.squeeze(1), counted_t1 / sums_t1, hits_t1.squeeze(1)


def _differentiate(exponentials_tv: Tensor, scale_t1: Tensor, targets_t: Tensor) -> None:
    """Turn exponentials into the gradient by the logits, in place: probability less 1 at the target, 0 where it is IGNORED."""
    exponentials_tv.mul_(scale_t1)
    places_t1 = targets_t.clamp(min=0).unsqueeze(1)
    ones_t1 = (targets_t != IGNORED).unsqueeze(1).float()  # 0 where IGNORED, whose place is another token's
    exponentials_tv.scatter_add_(1, places_t1, -ones_t1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right in float32; half-precision factors are summed, and on a GPU also kept, in float32."""
    if left.is_cuda and left.dtype != torch.float32:
        return torch.mm(left, right, out_dtype=torch.float32)
    return (left @ right).float()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to a float32 total, in place; on a GPU with the half-precision units."""
    if left.is_cuda and left.dtype != torch.float32:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total.addmm_(left.float(), right.float())
