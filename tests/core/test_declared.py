"""What a plugin's source says of its options, read as text."""

from pathlib import Path

from benchmark.core.declared import describe, options_in

SOURCE = '''
"""A method."""

from dataclasses import dataclass

from benchmark.labels.contract import LabelSource
from benchmark.labels.reuse import DECAY

LEAST, MOST = 2, 9


@dataclass(frozen=True)
class Options:
    """Its options.

    Attributes:
        k: how many.
    """

    k: int = LEAST
    decay: float = DECAY

    def __post_init__(self) -> None:
        if not LEAST <= self.k <= MOST:
            raise ValueError(f"k must be in {LEAST} to {MOST}, got {self.k}")
        for name in ("k", "decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.k and self.decay:
            raise ValueError("k and decay shut each other out")


class Own(LabelSource[Options]):
    pass
'''


def test_defaults_and_rules_are_read_with_their_constants(tmp_path):
    (tmp_path / "own.py").write_text(SOURCE.lstrip())
    told = describe(tmp_path / "own.py", "LabelSource")
    assert [(o.name, o.default) for o in told.options] == [("k", "2"), ("decay", "0.7")]
    # What is known only when it is raised is left out.
    assert told.rules == ("k must be in 2 to 9", "k and decay shut each other out")


def test_the_fields_of_a_nested_dataclass_have_dotted_names():
    file = Path(__file__).parents[2] / "benchmark" / "data" / "recipe.py"
    found = {option.name: option for option in options_in(file, "Recipe")}
    assert found["augmentation.flip"].default == "0.5"
    assert found["objective.loss"].kind == "Literal['kl', 'mse']"
    assert "passes over the distilled images" in found["epochs"].about
