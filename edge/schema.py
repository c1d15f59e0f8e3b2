"""Base of the boundary models: settings, manifests, payloads."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """Frozen; unknown fields are refused, so that bad data fails where it enters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
