"""Base class of settings, manifests and payloads, and their encoding as JSON."""

import json
from typing import Any

import pydantic_core
from pydantic import BaseModel, ConfigDict, ValidationError


class Schema(BaseModel):
    """An immutable model that refuses unknown fields, so that bad data is detected where it enters.

    Its validator is built when it is first used: of the hundred models a command imports it uses a few.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def first_problem(error: ValidationError, whole: str) -> str:
    """Return the first wrong field by its path and what is wrong with it; ``whole`` names the data where no field is at fault."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or whole}: {first['msg']}"


def replace_surrogates(text: str) -> str:
    """Return a text that UTF-8 can encode: each lone surrogate, as in the name of a file that is not UTF-8, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_json(value: Any) -> bytes:
    """Return JSON values as compact UTF-8 JSON, whatever strings they contain; numbers that JSON does not have become null."""
    try:
        return pydantic_core.to_json(value, inf_nan_mode="null")
    except pydantic_core.PydanticSerializationError:  # a lone surrogate
        encodable = json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))
        return pydantic_core.to_json(encodable, inf_nan_mode="null")
