"""What to train with a given compute: `plan_training`."""

from typing import Any

__all__ = ["plan_training"]


def __getattr__(name: str) -> Any:
    """Import the planner when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plm_scaling.planner.plan import plan_training

    return plan_training
