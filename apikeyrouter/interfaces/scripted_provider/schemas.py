"""A value that fits a JSON schema: for arguments of tool calls and for structured answers."""

from typing import Any

DEEPEST = 8

SCALARS: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return the simplest value that the schema allows; what it cannot read becomes None."""
    if depth > DEEPEST:
        return None
    root = schema if root is None else root
    match schema:
        case {"const": value} | {"enum": [value, *_]} | {"default": value}:
            return value
        case {"$ref": str() as pointer}:
            return example_of(pointed(root, pointer), root, depth + 1)
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]} | {"allOf": [first, *_]}:
            return example_of(first, root, depth + 1)
    return example_of_type(schema, root, depth)


def example_of_type(schema: Any, root: Any, depth: int) -> Any:
    """Return a value of the type that the schema names."""
    match schema:
        case {"type": [str() as first, *_]}:
            return example_of({**schema, "type": first}, root, depth + 1)
        case {"properties": dict() as properties}:
            return {name: example_of(one, root, depth + 1) for name, one in properties.items()}
        case {"type": "object"}:
            return {}
        case {"type": "array"}:
            return [example_of(schema.get("items", {}), root, depth + 1)]
        case {"type": str() as scalar}:
            return SCALARS.get(scalar)
    return None


def pointed(root: Any, pointer: str) -> Any:
    """Follow a local reference such as `#/$defs/Place`; None where it leads nowhere."""
    found = root
    for step in pointer.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    return found
