"""Cross-entropy of a linear head, chunk by chunk: the logits of a batch are never held whole."""

from typing import Any

import torch
from torch import Tensor

IGNORED = -100  # a target that is not counted


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of each chunk is taken while its logits are at hand, so backward only scales."""

    @staticmethod
    def forward(ctx: Any, hidden_td: Tensor, weight_vd: Tensor, targets_t: Tensor, chunk_tokens: int) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        hidden_grad = torch.zeros_like(hidden_td) if wants_hidden else None
        weight_grad = torch.zeros_like(weight_vd, dtype=torch.float32) if wants_weight else None
        total = torch.zeros((), dtype=torch.float32, device=hidden_td.device)
        for start in range(0, hidden_td.shape[0], chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            targets = targets_t[rows]
            counted = targets != IGNORED
            logits = (hidden_td[rows] @ weight_vd.T).float()
            picked = targets.clamp(min=0).unsqueeze(1)
            normaliser = torch.logsumexp(logits, dim=1, keepdim=True)
            nats = (normaliser - logits.gather(1, picked)).squeeze(1)
            total += (nats * counted).sum()
            if not (wants_hidden or wants_weight):
                continue
            logits.sub_(normaliser).exp_()
            logits.scatter_add_(1, picked, torch.full_like(picked, -1, dtype=logits.dtype))
            logits.mul_(counted.unsqueeze(1))
            if hidden_grad is not None:
                hidden_grad[rows] = logits.to(weight_vd.dtype) @ weight_vd
            if weight_grad is not None:
                weight_grad.addmm_(logits.T, hidden_td[rows].float())
        ctx.save_for_backward(hidden_grad, None if weight_grad is None else weight_grad.to(weight_vd.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        scale = grad_outputs[0]
        return (
            None if hidden_grad is None else hidden_grad * scale,
            None if weight_grad is None else weight_grad.mul_(scale),
            None,
            None,
        )


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int = 256) -> Tensor:
    """Return the sum of nats, a float32 scalar, of `targets` under softmax(hidden @ weight.T).

    hidden [..., d], weight [v, d], targets [...] with IGNORED where nothing is to be learnt. Differentiable in hidden, and in
    weight where it requires a gradient.
    """
    loss = _LinearCrossEntropy.apply(hidden.reshape(-1, hidden.shape[-1]), weight, targets.reshape(-1), chunk_tokens)
    assert isinstance(loss, Tensor)
    return loss


@torch.no_grad()
def token_nats(hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int = 256) -> Tensor:
    """Return the float32 nats of every target, shaped like `targets`, 0 where it is IGNORED."""
    flat, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    nats = torch.zeros(wanted.shape, dtype=torch.float32, device=hidden.device)
    for start in range(0, flat.shape[0], chunk_tokens):
        rows = slice(start, start + chunk_tokens)
        logits = (flat[rows] @ weight.T).float()
        picked = logits.gather(1, wanted[rows].clamp(min=0).unsqueeze(1)).squeeze(1)
        nats[rows] = (torch.logsumexp(logits, dim=1) - picked) * (wanted[rows] != IGNORED)
    return nats.reshape(targets.shape)
