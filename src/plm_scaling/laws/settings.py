"""What the fits are told besides the runs."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of a fit; a law takes what it needs."""

    bootstrap: int
    level: float
    seed: int
    huber_delta: float
    held_out_above: float | None

    @property
    def resampling(self) -> dict[str, Any]:
        """The arguments that every fit takes."""
        return {"bootstrap": self.bootstrap, "level": self.level, "seed": self.seed}
