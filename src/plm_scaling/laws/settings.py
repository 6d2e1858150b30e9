"""What the fits are told besides the runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.study.laws import Axes


@dataclass(frozen=True)
class Settings:
    """What the fits are told besides the runs; a law takes what it needs."""

    bootstrap: int = 4000
    """resamples; 0 for none"""
    level: float = 0.95
    """level of the intervals"""
    seed: int = 1
    """of the resamples"""
    huber_delta: float = 1e-3
    """Huber δ on the log loss, of the parametric law"""
    held_out_above: float | None = None
    """FLOPs; runs of more are predicted, not fitted"""
    axes: Axes = "best"
    """of runs that differ only in settings: best takes those of the lowest loss, or all"""
    base: Path | None = None
    """parametric law (JSON) on which the law repeated rests, instead of one fitted with it"""

    @property
    def resampling(self) -> dict[str, Any]:
        """The arguments that every fit takes."""
        return {"bootstrap": self.bootstrap, "level": self.level, "seed": self.seed}


DEFAULT = Settings()
