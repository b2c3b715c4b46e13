"""The text dictionary of a line: what its classes are called and look like, in `configs/texts/<line>.yaml`."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import DataError
from pipeline.texts.entries import Text, TextKind, kind_of, parse_texts, require_keys, require_text

SCHEMA_VERSION = 1
FILE_KEYS = ("schema_version", "line", "language", "templates", "forms", "classes")
CLASS_KEYS = ("name", *TextKind)
FORM_KEYS = ("attribute", "analogous", "one_to_one")


@dataclass(frozen=True, slots=True)
class Forms:
    """How a phrase becomes a sentence, each with {name} and {text}; several for one-to-one are encoded each."""

    attribute: str = "a photo of a {name}, {text}."
    analogous: str = "a photo of a {name}, similar to {text}."
    one_to_one: tuple[str, ...] = ("a photo of a {name}, {text}.",)


@dataclass(frozen=True, slots=True)
class ClassTexts:
    """What is said about one class; the properties give the texts in use."""

    class_id: str
    name: str
    texts: tuple[Text, ...] = ()  # of all kinds and any status, in the order of the file

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Other names."""
        return self._active(TextKind.SYNONYM)

    @property
    def attributes(self) -> tuple[str, ...]:
        """What can be seen on it."""
        return self._active(TextKind.ATTRIBUTE)

    @property
    def analogous(self) -> tuple[str, ...]:
        """What it looks like."""
        return self._active(TextKind.ANALOGOUS)

    @property
    def one_to_one(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Rival class id, and what tells this class from it."""
        own = [t for t in self.texts if t.kind is TextKind.ONE_TO_ONE and t.active and t.rival is not None]
        rivals = dict.fromkeys(str(t.rival) for t in own)
        return tuple((rival, tuple(t.text for t in own if t.rival == rival)) for rival in rivals)

    def _active(self, kind: TextKind) -> tuple[str, ...]:
        return tuple(t.text for t in self.texts if t.kind is kind and t.active)


@dataclass(frozen=True, slots=True)
class TextDictionary:
    """All texts of a line, in the order of the file."""

    line: str
    language: str
    templates: tuple[str, ...]  # each with exactly one {}
    classes: tuple[ClassTexts, ...]
    source: str  # the file, for messages
    forms: Forms = Forms()

    @property
    def class_ids(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(c.class_id for c in self.classes)

    @property
    def sha256(self) -> str:
        """Of the texts in use: any word of theirs changes it; comments, key order, drafts and provenance do not."""
        content: list[Any] = [self.line, self.language, list(self.templates), [_plain(c) for c in self.classes]]
        if self.forms != Forms():
            content.append([self.forms.attribute, self.forms.analogous, list(self.forms.one_to_one)])
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def class_texts(self, class_id: str) -> ClassTexts:
        """Of one class; raises DataError for a class the file does not have."""
        for c in self.classes:
            if c.class_id == class_id:
                return c
        raise DataError(f"{self.source}: expected one of the classes {', '.join(self.class_ids)}, got {class_id}")

    def prompts(self, class_id: str) -> tuple[str, ...]:
        """The class name in every template."""
        name = self.class_texts(class_id).name
        return tuple(template.format(name) for template in self.templates)

    def with_texts(self, class_id: str, *, texts: tuple[Text, ...]) -> TextDictionary:
        """The same dictionary with other texts for one class."""
        self.class_texts(class_id)
        classes = tuple(replace(c, texts=texts) if c.class_id == class_id else c for c in self.classes)
        return replace(self, classes=classes)

    def ordered_as(self, class_ids: tuple[str, ...], *, folder: str) -> TextDictionary:
        """The same texts in the order of the image folders.

        Raises DataError naming file and classes when a class is missing from the file or has no folder.
        """
        known = {c.class_id: c for c in self.classes}
        missing = [c for c in class_ids if c not in known]
        extra = [c for c in known if c not in class_ids]
        if missing or extra:
            wrong = [f"no texts for {', '.join(missing)}"] if missing else []
            wrong += [f"texts but no folder for {', '.join(extra)}"] if extra else []
            raise DataError(
                f"{self.source}: expected one entry under classes for each folder in {folder}, got "
                f"{' and '.join(wrong)}; add or remove the entries, or correct the folder names"
            )
        return replace(self, classes=tuple(known[c] for c in class_ids))


def _plain(c: ClassTexts) -> list[Any]:
    one_to_one = [[rival, list(texts)] for rival, texts in c.one_to_one]
    return [c.class_id, c.name, list(c.synonyms), list(c.attributes), list(c.analogous), one_to_one]


def load_dictionary(path: Path) -> TextDictionary:
    """Read and check a dictionary; raises DataError naming the file, the class and the key."""
    where = str(path)
    content = require_keys(read_yaml(path), allowed=FILE_KEYS, where=where)
    if content.get("schema_version") != SCHEMA_VERSION:
        got = content.get("schema_version")
        raise DataError(f"{where}: schema_version must be {SCHEMA_VERSION}, got {got!r}")
    classes = content.get("classes")
    if not isinstance(classes, Mapping) or not classes:
        raise DataError(f"{where}: classes must be a table of class ids, got {kind_of(classes)}")
    language = require_text(content.get("language"), where=f"{where}: language")
    return TextDictionary(
        line=require_text(content.get("line"), where=f"{where}: line"),
        language=language,
        templates=_templates(content.get("templates"), where=f"{where}: templates"),
        classes=tuple(
            _class(key, entry=entry, where=where, known=classes, language=language) for key, entry in classes.items()
        ),
        source=where,
        forms=_forms(content.get("forms"), where=f"{where}: forms"),
    )


class _UniqueKeys(yaml.SafeLoader):
    """A key that stands twice is an error: YAML's own rule keeps the last one and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1 and isinstance(key, str)})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> object:
    """The content of a file; raises DataError where there is none to read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a readable text dictionary, got: {error}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: expected YAML, got: {error}") from error


def dump_dictionary(dictionary: TextDictionary) -> str:
    """YAML that loads as the same dictionary; comments of the file it came from are not in it."""
    forms, usual = dictionary.forms, Forms()
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "line": dictionary.line,
        "language": dictionary.language,
        "templates": list(dictionary.templates),
    }
    if forms != usual:
        plain = {"attribute": forms.attribute, "analogous": forms.analogous, "one_to_one": list(forms.one_to_one)}
        content["forms"] = plain
    content["classes"] = {c.class_id: _dumped(c, language=dictionary.language) for c in dictionary.classes}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _dumped(c: ClassTexts, *, language: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": c.name}
    for text in c.texts:
        plain = text.to_plain(language=language)
        if text.rival is None:
            entry.setdefault(text.kind.value, []).append(plain)
        else:
            entry.setdefault(text.kind.value, {}).setdefault(text.rival, []).append(plain)
    return entry


def _class(key: object, *, entry: object, where: str, known: Mapping[object, object], language: str) -> ClassTexts:
    if not isinstance(key, str) or not key:
        raise DataError(f"{where}: class ids must be texts, got {key!r}; put it in quotes")
    at = f"{where}: classes.{key}"
    table = require_keys(entry, allowed=CLASS_KEYS, where=at)
    rivals = table.get("one_to_one") or {}
    if not isinstance(rivals, Mapping):
        raise DataError(f"{at}.one_to_one must be a table of rival classes, got {kind_of(rivals)}")
    strangers = [str(r) for r in rivals if r not in known or r == key]
    if strangers:
        raise DataError(f"{at}.one_to_one must name other classes of this file, got {', '.join(strangers)}")
    texts: list[Text] = []
    for kind in (TextKind.SYNONYM, TextKind.ATTRIBUTE, TextKind.ANALOGOUS):
        texts += parse_texts(table.get(kind.value), kind=kind, language=language, where=f"{at}.{kind}")
    for rival, given in rivals.items():
        told = f"{at}.one_to_one.{rival}"
        texts += parse_texts(given, kind=TextKind.ONE_TO_ONE, language=language, where=told, rival=rival)
    return ClassTexts(key, require_text(table.get("name"), where=f"{at}.name"), tuple(texts))


def _templates(value: object, *, where: str) -> tuple[str, ...]:
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where} must be a list of texts, got {kind_of(value)}")
    templates = tuple(require_text(item, where=f"{where}[{i}]") for i, item in enumerate(value or []))
    wrong = [t for t in templates if t.count("{}") != 1 or t.count("{") != 1 or t.count("}") != 1]
    if not templates or wrong:
        raise DataError(f"{where} must be texts with one {{}} for the class name each, got {wrong or 'none'}")
    return templates


def _forms(value: object, *, where: str) -> Forms:
    if value is None:
        return Forms()
    table, usual = require_keys(value, allowed=FORM_KEYS, where=where), Forms()
    given = table.get("one_to_one", list(usual.one_to_one))
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}.one_to_one must be a list of texts, got {kind_of(given)}")
    return Forms(
        attribute=_form(table.get("attribute", usual.attribute), where=f"{where}.attribute"),
        analogous=_form(table.get("analogous", usual.analogous), where=f"{where}.analogous"),
        one_to_one=tuple(_form(item, where=f"{where}.one_to_one[{i}]") for i, item in enumerate(given)),
    )


def _form(value: object, *, where: str) -> str:
    text = require_text(value, where=where)
    try:
        fields = sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)
    except ValueError:
        fields = []
    if fields not in (["name", "text"], ["text"]):
        raise DataError(f"{where} must hold {{text}} once and {{name}} at most once, got {text!r}")
    return text
