"""How proteins are drawn. It imports nothing heavy: the command's help reads it."""

import math
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import InferenceError

MAX_LENGTH = 512  # residues, where the context holds as many


@dataclass(frozen=True)
class Sampling:
    """How proteins are drawn."""

    number: int = 1000
    """proteins to make"""
    temperature: float = 1.0
    """below 1 the likely becomes likelier; 0: always the likeliest"""
    top_p: float = 1.0
    """draw only from the likeliest residues that have this probability together"""
    max_length: int | None = None
    """residues, prompt included, after which a protein that did not end is cut (default: 512, or
    what the context holds)"""
    prompt: str = ""
    """residues with which each protein begins"""
    seed: int = 1
    """of the draws"""

    def check(self) -> None:
        """Raises `InferenceError` naming the option that cannot be."""
        for name, wrong, allowed in (
            ("number", self.number < 1, "at least 1"),
            ("temperature", not 0 <= self.temperature < math.inf, "0 or more"),
            ("top-p", not 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", not 0 <= self.seed < 1 << 64, "from 0 to 2^64 - 1"),
        ):
            if wrong:
                value = getattr(self, name.replace("-", "_"))
                raise InferenceError(f"--{name} is {value}; it must be {allowed}")


SAMPLE = Sampling()


def about(out: Path) -> Path:
    """The file beside generated proteins that says how they were made."""
    return out.with_name(f"{out.name}.json")
