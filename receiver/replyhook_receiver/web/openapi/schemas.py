"""The JSON Schemas of models, gathered as a document's components."""

import re
from typing import Any

import msgspec

Schema = dict[str, Any]
_REF = "#/components/schemas/"


class Schemas:
    """Gathers what is referred to. What is taken is strict; what is answered may grow, so its readers must not be."""

    def __init__(self) -> None:
        self._components: dict[str, Schema] = {}
        self._taken: set[str] = set()

    def taken(self, kind: Any) -> Schema:
        """The schema of what a caller sends."""
        schema, components = _schema(kind)
        self._components |= components
        self._taken |= set(components)
        return schema

    def answered(self, kind: Any) -> Schema:
        """The schema of what we answer."""
        schema, components = _schema(kind)
        self._components |= components
        return schema

    def components(self) -> dict[str, Schema]:
        """All of them by name."""
        return {
            name: schema if name in self._taken else {k: v for k, v in schema.items() if k != "additionalProperties"}
            for name, schema in sorted(self._components.items())
        }


def _schema(kind: Any) -> tuple[Schema, dict[str, Schema]]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template=f"{_REF}{{name}}")
    return _plain(schema), {name: _plain(each) for name, each in components.items()}


def _plain(value: Any) -> Any:
    """Texts without the marks of our docstrings."""
    if isinstance(value, dict):
        cleaned = {name: _plain(each) for name, each in value.items()}
        if isinstance(cleaned.get("description"), str):
            cleaned["description"] = re.sub(r"``([^`]*)``", r"`\1`", cleaned["description"])
        return cleaned
    return [_plain(each) for each in value] if isinstance(value, list) else value
