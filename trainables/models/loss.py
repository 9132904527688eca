"""Cross-entropy of a linear head, chunk by chunk: the logits of a batch are never held whole."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.shape import loss_chunk_tokens

IGNORED = -100  # a target that is not counted


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states: hidden @ weight.T + bias, softly kept within ±cap where a model has one.

    weight [v, d], bias [v]; capped logits are cap * tanh(logits / cap) (Gemma Team 2024, arXiv 2408.00118, section 2).
    """

    weight: Tensor
    bias: Tensor | None = None
    cap: float | None = None

    def logits(self, hidden_td: Tensor) -> Tensor:
        """Return float32 logits [t, v]; the product is computed in the weight's own type."""
        logits_tv = _product(hidden_td.to(self.weight.dtype), self.weight.T)
        if self.bias is not None:
            logits_tv += self.bias
        return logits_tv if self.cap is None else logits_tv.div_(self.cap).tanh_().mul_(self.cap)

    def detach(self) -> "Head":
        """Return a head that asks for no gradient."""
        return Head(self.weight.detach(), None if self.bias is None else self.bias.detach(), self.cap)


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of each chunk is taken while its logits are at hand, so backward only scales."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  # autograd passes tensors one by one
        ctx: Any, hidden_td: Tensor, weight_vd: Tensor, bias_v: Tensor | None, targets_t: Tensor, cap: float | None, chunk_tokens: int
    ) -> Tensor:
        head = Head(weight_vd, bias_v, cap)
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        hidden_grad = torch.empty_like(hidden_td) if wants_hidden else None
        weight_grad = torch.zeros_like(weight_vd, dtype=torch.float32) if wants_weight else None  # summed over chunks, so in float32
        bias_grad = torch.zeros_like(bias_v, dtype=torch.float32) if bias_v is not None and wants_bias else None
        total = torch.zeros((), dtype=torch.float64, device=hidden_td.device)  # thousands of tokens are summed
        for start in range(0, hidden_td.shape[0], chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            logits_tv = head.logits(hidden_td[rows])
            slopes_tv = None if cap is None else 1 - (logits_tv / cap).square_()  # of the cap, before the logits are overwritten
            nats_t, scale_t1, _ = _exponentiate(logits_tv, targets_t[rows])
            total += nats_t.sum(dtype=torch.float64)
            if not (wants_hidden or wants_weight or wants_bias):
                continue
            _differentiate(logits_tv, scale_t1, targets_t[rows])
            if slopes_tv is not None:
                logits_tv.mul_(slopes_tv)
            if bias_grad is not None:
                bias_grad += logits_tv.sum(dim=0)
            # In the weights' own type, as autograd would have it: the products then take the fast units.
            logits_tv = logits_tv.to(weight_vd.dtype)
            if hidden_grad is not None:
                torch.mm(logits_tv, weight_vd, out=hidden_grad[rows])
            if weight_grad is not None:
                _add_product(weight_grad, logits_tv.T, hidden_td[rows])
            del logits_tv  # before the next chunk's are made
        ctx.gradients = hidden_grad, _cast(weight_grad, weight_vd), _cast(bias_grad, bias_v)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # Handed over, not kept: .grad can then take the head's gradient without a copy.
        assert ctx.gradients is not None, "the gradients of this loss were taken before"
        gradients, ctx.gradients = ctx.gradients, None
        for gradient in gradients:
            if gradient is not None:
                gradient.mul_(grad_outputs[0])
        return (*gradients, None, None, None)


def _cast(gradient: Tensor | None, like: Tensor | None) -> Tensor | None:
    return gradient if gradient is None or like is None else gradient.to(like.dtype)


def linear_cross_entropy(hidden: Tensor, head: Head, targets: Tensor, *, chunk_tokens: int | None = None) -> Tensor:
    """Return the sum of nats, a float32 scalar, of `targets` under the softmax of the head's logits.

    hidden [..., d], targets [...] with IGNORED where nothing is to be learnt. Differentiable once, in hidden, and in the head's weight
    and bias where they require a gradient. `chunk_tokens` is chosen by the vocabulary where it is None.
    """
    if not torch.is_grad_enabled():  # autograd functions are told that a weight wants its gradient even then
        hidden, head = hidden.detach(), head.detach()
    hidden_td, targets_t = hidden.reshape(-1, hidden.shape[-1]).to(head.weight.dtype), targets.reshape(-1)
    chunk_tokens = chunk_tokens or loss_chunk_tokens(len(head.weight))
    with torch.autocast(hidden.device.type, enabled=False):
        loss = _LinearCrossEntropy.apply(hidden_td, head.weight, head.bias, targets_t, head.cap, chunk_tokens)
    assert isinstance(loss, Tensor)
    return loss


@torch.no_grad()
def token_nats(hidden: Tensor, head: Head, targets: Tensor, *, chunk_tokens: int | None = None) -> tuple[Tensor, Tensor]:
    """Return float32 nats and bool hits, both shaped like `targets`: whether no token was likelier. 0 and False where IGNORED."""
    hidden_td = hidden.reshape(-1, hidden.shape[-1])
    targets_t = targets.reshape(-1)
    nats_t = torch.empty(targets_t.shape, dtype=torch.float32, device=hidden.device)
    hits_t = torch.empty(targets_t.shape, dtype=torch.bool, device=hidden.device)
    chunk_tokens = chunk_tokens or loss_chunk_tokens(len(head.weight))
    # Autocast would compute the product in half precision; the caller's precision is the weights' own.
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, hidden_td.shape[0], chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            logits_tv = head.logits(hidden_td[rows])
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
