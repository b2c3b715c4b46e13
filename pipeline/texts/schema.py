"""JSON Schema of the text dictionary, for editors; `configs/texts/schema-1.json` is this value."""

from __future__ import annotations

from typing import Any

from pipeline.texts.dictionary import FORM_KEYS, SCHEMA_VERSION, Forms
from pipeline.texts.entries import Provenance, Status, TextKind

_TEXT: dict[str, Any] = {"type": "string", "pattern": "\\S"}
ABOUT = {
    TextKind.SYNONYM: "Other names of the class; the best of name and synonyms is one vote.",
    TextKind.ATTRIBUTE: "What can be seen on it, one feature each, worded so that it can follow the name and a comma.",
    TextKind.ANALOGOUS: "Other things it looks like, not another class of this line.",
    TextKind.ONE_TO_ONE: "Rival class id: what can be seen on this class and not on the rival.",
}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12; what it cannot say (rivals are classes, no text twice) the loader checks."""
    properties: dict[str, Any] = {
        "schema_version": {"const": SCHEMA_VERSION},
        "line": {**_TEXT, "description": "Name of the line."},
        "language": {**_TEXT, "description": "Of all texts that do not say otherwise, e.g. en."},
        "templates": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "pattern": "^[^{}]*\\{\\}[^{}]*$"},
            "description": "Sentences with one {} for the class name.",
        },
        "forms": _forms(),
        "classes": {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/class"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Clearline text dictionary",
        "type": "object",
        "required": ["schema_version", "line", "language", "templates", "classes"],
        "properties": properties,
        "additionalProperties": False,
        "$defs": {"class": _class(), "texts": _texts()},
    }


def _forms() -> dict[str, Any]:
    form = {"type": "string", "pattern": "\\{text\\}"}
    usual = Forms()
    values = {
        "attribute": {**form, "default": usual.attribute},
        "analogous": {**form, "default": usual.analogous},
        "one_to_one": {"type": "array", "minItems": 1, "items": form, "default": list(usual.one_to_one)},
    }
    return {
        "type": "object",
        "properties": {key: values[key] for key in FORM_KEYS},
        "additionalProperties": False,
        "description": "Sentences made of a class name, {name}, and a phrase of its texts, {text}.",
    }


def _class() -> dict[str, Any]:
    texts = {"$ref": "#/$defs/texts"}
    properties: dict[str, Any] = {"name": {**_TEXT, "description": "As a person on the line would call it."}}
    for kind, about in ABOUT.items():
        properties[kind.value] = {**texts, "description": about}
    properties[TextKind.ONE_TO_ONE.value] = {
        "type": ["object", "null"],
        "additionalProperties": texts,
        "description": ABOUT[TextKind.ONE_TO_ONE],
    }
    return {"type": "object", "required": ["name"], "properties": properties, "additionalProperties": False}


def _texts() -> dict[str, Any]:
    entry = {
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": _TEXT,
            "provenance": {"enum": [p.value for p in Provenance], "default": Provenance.PERSON.value},
            "language": _TEXT,
            "status": {"enum": [s.value for s in Status], "default": Status.ACTIVE.value},
        },
        "additionalProperties": False,
    }
    return {"type": ["array", "null"], "items": {"anyOf": [_TEXT, entry]}}
