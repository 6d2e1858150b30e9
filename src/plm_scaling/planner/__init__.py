"""What to train: `plan(Question(flops=1e21, objective="clm"))` gives an `Answer`."""

from typing import Any

__all__ = ["Question", "plan", "plan_both"]


def __getattr__(name: str) -> Any:
    """Import the planner when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from plm_scaling.planner import answer, both, question

    modules = {"Question": question, "plan": answer, "plan_both": both}
    return getattr(modules[name], name)
