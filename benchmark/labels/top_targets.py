"""Targets of a few classes a view, and of none beside them, or of one share for all others.

A softmax and a divergence then cost the kept classes, not all of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TopLogits:
    """Labels as they are stored: the logits of a few classes.

    Attributes:
        indices: the kept classes, int64 (B, k), each once.
        values: their logits, float32 (B, k), up to a shift of each label.
        others: how many other classes there are, all at logit zero; 0 where they have no share.
        classes: in all.
    """

    indices: Tensor
    values: Tensor
    others: int
    classes: int

    def dense(self) -> Tensor:
        """Logits over all classes, (B, classes); minus infinity for classes without a share."""
        level = 0.0 if self.others else -torch.inf
        full = self.values.new_full((len(self.values), self.classes), level)
        return full.scatter_(1, self.indices, self.values)

    def targets(self, factor: float) -> "TopTargets":
        """The softmax of these logits times `factor`."""
        logits = self.values * factor
        if not self.others:
            return TopTargets(self.indices, logits.softmax(1), None, self.classes)
        highest = logits.amax(1, keepdim=True).clamp_min(0)
        shares = (logits - highest).exp()
        rest = (-highest).exp()
        total = shares.sum(1, keepdim=True) + self.others * rest
        return TopTargets(self.indices, shares / total, rest / total, self.classes)


@dataclass(frozen=True)
class TopTargets:
    """Probabilities over all classes, (B, classes), of which few are told one by one.

    Attributes:
        indices, shares: of the kept classes, (B, k).
        rest: of each other class, (B, 1); None where it is zero.
    """

    indices: Tensor
    shares: Tensor
    rest: Tensor | None
    classes: int

    def dense(self) -> Tensor:
        """All probabilities, float32 (B, classes)."""
        count = len(self.shares)
        if self.rest is None:
            full = self.shares.new_zeros(count, self.classes)
        else:
            full = self.rest.expand(count, self.classes).clone()
        return full.scatter_(1, self.indices, self.shares)

    def cross_entropy(self, log_probs: Tensor) -> Tensor:
        """With log-probabilities (..., B, classes); each view's, (..., B)."""
        indices = self.indices.expand(*log_probs.shape[:-2], *self.indices.shape)
        kept = log_probs.gather(-1, indices)
        found = (self.shares * kept).sum(-1)
        if self.rest is not None:
            found = found + self.rest[:, 0] * (log_probs.sum(-1) - kept.sum(-1))
        return -found

    def divergence(self, log_probs: Tensor) -> Tensor:
        """Kullback-Leibler from log-probabilities (B, classes) to these; the mean over views."""
        entropy = torch.xlogy(self.shares, self.shares).sum(1)
        if self.rest is not None:
            others = self.classes - self.shares.shape[1]
            entropy = entropy + others * torch.xlogy(self.rest, self.rest)[:, 0]
        return (entropy + self.cross_entropy(log_probs)).mean()
