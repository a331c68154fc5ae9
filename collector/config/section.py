"""What every section of the settings is: closed to unknown keys, and frozen."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from collector.config.values import no_switch


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _switches_only_where_wanted(cls, value: Any, info: ValidationInfo) -> Any:
        return value if cls.model_fields[info.field_name or ""].annotation is bool else no_switch(value)
