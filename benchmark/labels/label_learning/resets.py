"""When the network that labels are learned with is begun anew: once it has stopped improving."""

import math
from dataclasses import dataclass, field


@dataclass
class Resets:
    """Watches the outer errors of one network after another.

    Once their sum over the last `window` steps has not fallen for more than `window` steps, the
    network is at its end: labels should help networks of all ages, and this one's has been seen.
    Arxiv 2006.08572, section 3; the rule in full is in the authors' code only.

    Attributes:
        steps: that this network has taken.
        since: steps since the sum was lowest.
    """

    window: int
    steps: int = 0
    since: int = 0
    lowest: float = math.inf
    recent: list[float] = field(default_factory=list)

    @property
    def safe(self) -> int:
        """After how many more steps the network can first be at its end; at least 1."""
        missing = self.window - len(self.recent)
        return missing + self.window + 1 if missing else self.window - self.since + 1

    def add(self, error: float) -> int | None:
        """Count one step; at the network's end, the steps that it was worth taking.

        All is then as for a new network.
        """
        self.steps += 1
        full = len(self.recent) == self.window
        self.recent = [*self.recent[full:], error]
        if len(self.recent) < self.window:
            return None
        total = math.fsum(self.recent)  # exact, so that equal errors have equal sums
        if total < self.lowest:
            self.lowest, self.since = total, 0
        elif self.since < self.window:
            self.since += 1
        else:
            length = self.steps - self.since - 1
            self.steps, self.since, self.lowest, self.recent = 0, 0, math.inf, []
            return length
        return None


def steps_worth(lengths: list[int], now: int) -> int:
    """Steps to train a fresh network: the floored mean of the last three lengths, or `now`."""
    last = lengths[-3:]
    return sum(last) // len(last) if last else max(1, now)
