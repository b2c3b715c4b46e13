"""One text more or fewer in a dictionary's file, with every other character of it as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import yaml

from pipeline.errors import DataError
from pipeline.texts.dictionary import ClassTexts, TextDictionary
from pipeline.texts.entries import Text, TextKind

ORDER = tuple(TextKind)


def with_added(dictionary: TextDictionary, *, class_id: str, text: Text) -> TextDictionary:
    """With `text` in use; one that waits as a draft or was retired is taken into use. Raises DataError if it is."""
    before = dictionary.class_texts(class_id)
    if text.rival is not None:
        dictionary.class_texts(text.rival)
    if (text.rival is None) == (text.kind is TextKind.ONE_TO_ONE) or text.rival == class_id:
        raise DataError(f"{class_id}: expected another class to tell it from with one_to_one, and only then")
    known = _find(before, text=text)
    if known is not None and known.active:
        raise DataError(f"{dictionary.source}: expected a text that {class_id} does not have, got {text.text!r} again")
    kept = tuple(one for one in before.texts if one is not known)
    added = sorted((*kept, text), key=lambda one: ORDER.index(one.kind))  # stable: the order of the file
    return dictionary.with_texts(class_id, texts=tuple(added))


def with_removed(dictionary: TextDictionary, *, class_id: str, text: Text) -> TextDictionary:
    """Without it. Raises DataError where it is not there."""
    before = dictionary.class_texts(class_id)
    known = _find(before, text=text)
    if known is None:
        own = ", ".join(repr(one.text) for one in before.texts if one.kind is text.kind) or "none"
        raise DataError(
            f"{dictionary.source}: expected one of the {text.kind} of {class_id} ({own}), got {text.text!r}"
        )
    return dictionary.with_texts(class_id, texts=tuple(one for one in before.texts if one is not known))


def with_name(dictionary: TextDictionary, *, class_id: str, name: str) -> TextDictionary:
    """With another name for the class; its id stays."""
    dictionary.class_texts(class_id)
    classes = tuple(replace(one, name=name) if one.class_id == class_id else one for one in dictionary.classes)
    return replace(dictionary, classes=classes)


def _find(c: ClassTexts, *, text: Text) -> Text | None:
    same = (one for one in c.texts if (one.kind, one.rival) == (text.kind, text.rival))
    return next((one for one in same if one.text.casefold() == text.text.casefold()), None)


def renamed(content: str, *, class_id: str, name: str) -> str:
    """The file with another name of a class."""
    value = _value(_class_node(content, class_id=class_id), key="name")
    assert value is not None  # the file was loaded: a class has a name
    return _spliced(content, start=value.start_mark.index, end=value.end_mark.index, text=quoted(name))


def inserted(content: str, *, class_id: str, text: Text) -> str:
    """The file with one text more at the end of its list; a missing list is made."""
    own = _class_node(content, class_id=class_id)
    if text.rival is None:
        return _in_list(content, table=own, key=text.kind.value, phrase=text.text)
    rivals = _value(own, key=text.kind.value)
    if isinstance(rivals, yaml.MappingNode) and rivals.value:
        return _in_list(content, table=rivals, key=text.rival, phrase=text.text)
    table = f"{{{quoted(text.rival)}: [{quoted(text.text)}]}}"
    if rivals is not None:
        return _spliced(content, start=rivals.start_mark.index, end=rivals.end_mark.index, text=_spaced(rivals, table))
    return _with_key(content, table=own, entry=f"{text.kind.value}: {table}")


def taken_out(content: str, *, class_id: str, text: Text) -> str:
    """The file with one text fewer; raises DataError where it does not stand there."""
    values = _value(_class_node(content, class_id=class_id), key=text.kind.value)
    if text.rival is not None and isinstance(values, yaml.MappingNode):
        values = _value(values, key=text.rival)
    items = values.value if isinstance(values, yaml.SequenceNode) else []
    at = next((n for n, item in enumerate(items) if _phrase(item).casefold() == text.text.casefold()), None)
    if at is None:
        raise DataError(f"expected {text.text!r} among the {text.kind} of {class_id}, got a file without it")
    assert isinstance(values, yaml.SequenceNode)  # it has an item
    if len(items) == 1:
        start = values.start_mark.index
        return _spliced(content, start=start, end=_last(values).end_mark.index + _flow(values), text="[]")
    if values.flow_style:
        start = items[at - 1].end_mark.index if at else items[0].start_mark.index
        end = items[at].end_mark.index if at else items[1].start_mark.index
        return _spliced(content, start=start, end=end, text="")
    start = content.rindex("\n", 0, items[at].start_mark.index) + 1
    end = content.find("\n", _last(items[at]).end_mark.index) + 1 or len(content)
    return _spliced(content, start=start, end=end, text="")


def quoted(text: str) -> str:
    """As YAML reads it back, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def _in_list(content: str, *, table: yaml.MappingNode, key: str, phrase: str) -> str:
    values = _value(table, key=key)
    if values is None:
        return _with_key(content, table=table, entry=f"{_key(key)}: [{quoted(phrase)}]")
    if not isinstance(values, yaml.SequenceNode):  # nothing after the colon
        text = _spaced(values, f"[{quoted(phrase)}]")
        return _spliced(content, start=values.start_mark.index, end=values.end_mark.index, text=text)
    if values.flow_style:
        at = values.value[-1].end_mark.index if values.value else values.start_mark.index + 1
        return _spliced(content, start=at, end=at, text=f"{', ' if values.value else ''}{quoted(phrase)}")
    indent = " " * values.start_mark.column
    return _new_line(content, after=_last(values).end_mark.index, line=f"{indent}- {quoted(phrase)}")


def _with_key(content: str, *, table: yaml.MappingNode, entry: str) -> str:
    if table.flow_style:
        at = table.value[-1][1].end_mark.index
        return _spliced(content, start=at, end=at, text=f", {entry}")
    indent = " " * table.start_mark.column
    return _new_line(content, after=_last(table, closed=True).end_mark.index, line=f"{indent}{entry}")


def _class_node(content: str, *, class_id: str) -> yaml.MappingNode:
    classes = _value(yaml.compose(content, Loader=yaml.SafeLoader), key="classes")
    own = None if classes is None else _value(classes, key=class_id)
    if not isinstance(own, yaml.MappingNode):
        raise DataError(f"expected a class {class_id} in the file, got none")
    return own


def _value(node: yaml.Node | None, *, key: str) -> yaml.Node | None:
    pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _last(node: yaml.Node, *, closed: bool = False) -> yaml.Node:
    """The last scalar in it, whose end is where text ends; with `closed`, the flow list or table that holds it."""
    if not node.value or not isinstance(node, yaml.SequenceNode | yaml.MappingNode) or (closed and node.flow_style):
        return node
    last = node.value[-1]
    return _last(last[1] if isinstance(last, tuple) else last, closed=closed)


def _flow(node: yaml.SequenceNode) -> int:
    """What lies between the last item's end and the list's."""
    return node.end_mark.index - _last(node).end_mark.index if node.flow_style else 0


def _phrase(item: yaml.Node) -> str:
    node = _value(item, key="text") if isinstance(item, yaml.MappingNode) else item
    return "" if node is None else str(node.value).strip()


def _key(key: str) -> str:
    return key if key in ORDER else quoted(key)


def _spaced(node: yaml.Node, text: str) -> str:
    """Nothing after a colon stands right behind it, where a value must not."""
    return f" {text}" if node.start_mark.index == node.end_mark.index else text


def _new_line(content: str, *, after: int, line: str) -> str:
    """Below the line that holds `after`, its comment included."""
    end = content.find("\n", after)
    return f"{content}\n{line}\n" if end < 0 else f"{content[: end + 1]}{line}\n{content[end + 1 :]}"


def _spliced(content: str, *, start: int, end: int, text: str) -> str:
    return f"{content[:start]}{text}{content[end:]}"
