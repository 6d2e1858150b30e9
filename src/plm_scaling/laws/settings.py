"""What the fits are told besides the runs."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of a fit; a law takes what it needs."""

    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 1
    huber_delta: float = 1e-3
    held_out_above: float | None = None

    @property
    def resampling(self) -> dict[str, Any]:
        """The arguments that every fit takes."""
        return {"bootstrap": self.bootstrap, "level": self.level, "seed": self.seed}
