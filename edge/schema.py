"""Base class of settings, manifests and payloads."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """An immutable model that refuses unknown fields, so that bad data is detected where it enters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
