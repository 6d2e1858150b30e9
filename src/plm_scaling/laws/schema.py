"""The JSON schema of law files, made from the types of the laws and of their tables."""

from typing import Any

from pydantic import TypeAdapter

from plm_scaling.laws import law_module
from plm_scaling.laws.result import LawResult


def law_schema(law: str) -> dict[str, Any]:
    """What files of `law` hold as this version writes them: every key of a `LawResult`, its
    `details` at the same level, and no other."""
    result: Any = LawResult
    adapter = TypeAdapter[Any](result[law_module(law).Details])
    schema = adapter.json_schema(mode="serialization")
    properties = schema["properties"]
    del properties["taken"], properties["reason"]
    schema["allOf"] = [properties.pop("details")]
    schema["required"] = list(properties)
    schema["unevaluatedProperties"] = False
    for name, part in schema["$defs"].items():
        if "properties" in part and not name.endswith("Details"):
            part.setdefault("additionalProperties", False)
    return schema
