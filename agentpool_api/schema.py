"""How do the pydantic models of the resources become camelCase objects with CEL rules?"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Base of everything that is written to or read from a Kubernetes object.

    ``cel_rules`` become ``x-kubernetes-validations`` of the object's schema: pairs of rule and message, where the
    message says what to change.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = ()

    def manifest(self) -> dict[str, Any]:
        """JSON object with camelCase keys, without absent values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
