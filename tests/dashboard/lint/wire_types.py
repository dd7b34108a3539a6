"""The messages of avf_wire as TypeScript's declarations, so that a field that is renamed there fails the page's lint.

    python tests/dashboard/lint/wire_types.py       writes wire.d.ts beside this file

The law: what a server sends has every field, but for those that can be unset; what a client sends may leave out what
has a default.
"""

import types
import typing
from pathlib import Path
from typing import Any, Literal

import avf_wire as wire
import msgspec

TARGET = Path(__file__).parent / "wire.d.ts"
COMMAND = "python tests/dashboard/lint/wire_types.py"
HEAD = f"// The messages of avf_wire, in the namespace `Wire`. Written by `{COMMAND}`: edit nothing here.\n"
PLAIN = {
    str: "string",
    bytes: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
    Any: "unknown",
}


class UnknownTypeError(TypeError):
    """A field of a message is of a kind that this file has no word for."""


def structs() -> list[type[msgspec.Struct]]:
    """Every message that avf_wire hands on, by name; the two bases say nothing."""
    named = [getattr(wire, name) for name in sorted(wire.__all__)]
    found = [each for each in named if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return [each for each in found if each not in (wire.Request, wire.Message)]


def unions() -> dict[str, Any]:
    """The names that avf_wire has for choices between messages, or words."""
    named = {name: getattr(wire, name) for name in sorted(wire.__all__)}
    return {name: each for name, each in named.items() if typing.get_origin(each) in (Literal, types.UnionType)}


def said(hint: Any) -> str:
    """A type of Python in TypeScript's words. Raises UnknownTypeError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint.__name__
    if origin is Literal:
        return " | ".join(f'"{word}"' for word in arguments)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(dict.fromkeys(said(each) for each in arguments if each is not msgspec.UnsetType))
    if origin in (list, tuple):
        inner = said(arguments[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<{said(arguments[0])}, {said(arguments[1])}>"
    raise UnknownTypeError(f"{hint}: no word of TypeScript for it; add one to {Path(__file__).name}")


def declared(struct: type[msgspec.Struct]) -> str:
    """A message as an interface."""
    lines = [f"  interface {struct.__name__} {{"]
    config = struct.__struct_config__
    if config.tag_field is not None:
        lines.append(f'    {config.tag_field}: "{config.tag}";')
    for field in msgspec.structs.fields(struct):
        unset = msgspec.UnsetType in typing.get_args(field.type)
        mark = "?" if unset or (issubclass(struct, wire.Request) and not field.required) else ""
        lines.append(f"    {field.encode_name}{mark}: {said(field.type)};")
    return "\n".join([*lines, "  }"])


def written() -> str:
    """The whole of wire.d.ts."""
    names = [f"  type {name} = {said(union)};" for name, union in unions().items()]
    body = "\n\n".join(["\n".join(names), *(declared(struct) for struct in structs())])
    return f"{HEAD}\ndeclare namespace Wire {{\n{body}\n}}\n"


if __name__ == "__main__":
    TARGET.write_text(written())
