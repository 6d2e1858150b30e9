"""Strict value types of the config, with what YAML gets wrong put right."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _number(value: Any) -> Any:
    """YAML 1.1 reads `1e18` as text (it wants `1.0e+18`); everything else stays as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value


def _day(value: Any) -> Any:
    """YAML reads `2024-01-31` as a date; JSON and quotes leave it as text."""
    if isinstance(value, str):
        return date.fromisoformat(value)
    return value


Day = Annotated[date, BeforeValidator(_day)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Share = Annotated[Number, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]


class Follows(str):
    """Marks a key whose default follows from other keys (`config.derived`), and says how."""

    __slots__ = ()


class Block(BaseModel):
    """A block of the config: what is left out has its default, unknown keys are refused, types are
    strict.

    What a key means stands below it, for `plm_scaling.config.document`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
