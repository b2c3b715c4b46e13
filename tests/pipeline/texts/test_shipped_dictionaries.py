"""The dictionaries that are shipped: schema, loader, coverage, wording."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pipeline.errors import DataError
from pipeline.texts.check import Problem, check_wording
from pipeline.texts.dictionary import load_dictionary, read_yaml
from pipeline.texts.entries import Status
from pipeline.texts.schema import json_schema
from pipeline.texts.suggest import from_trade, load_trade
from tests.pipeline.texts import making_texts as making

TRADES = ("metal_surfaces", "pcb", "packaging", "bottling", "waste_sorting")
LISTS = {"metal_surfaces": "metal", "pcb": "electronics", "waste_sorting": "waste"}
DICTIONARIES = sorted(making.SHIPPED.glob("*.yaml"))


def test_the_shipped_schema_is_the_one_the_code_makes() -> None:
    shipped = json.loads((making.SHIPPED / "schema-1.json").read_text(encoding="utf-8"))
    assert shipped == json_schema()
    jsonschema.Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("path", DICTIONARIES, ids=lambda path: path.stem)
def test_every_shipped_dictionary_satisfies_schema_and_loader(path: Path) -> None:
    jsonschema.validate(read_yaml(path), json_schema())
    assert load_dictionary(path).line == path.stem


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("status: draft", "status: maybe"),
        ("provenance: llm", "author: me"),
        ('"a thin line"', "5"),
        ('"a thin line"', '" "'),
        ("schema_version: 1", "schema_version: 2"),
        ("line: small", "lines: small"),
        ('name: "clean plate"', 'title: "clean plate"'),
        ('"a photo of a {}."', '"a photo."'),
        ("classes:", "forms: {other: x}\nclasses:"),
        ("classes:", "forms: {one_to_one: []}\nclasses:"),
    ],
)
def test_schema_and_loader_refuse_the_same_files(tmp_path: Path, old: str, new: str) -> None:
    path = making.write(tmp_path)
    jsonschema.validate(read_yaml(path), json_schema())
    path = making.write(tmp_path, text=making.SMALL.replace(old, new, 1))
    with pytest.raises(DataError):
        load_dictionary(path)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(path), json_schema())


@pytest.mark.parametrize("name", TRADES)
def test_every_class_of_a_trade_has_texts_enough(name: str) -> None:
    for c in load_dictionary(making.SHIPPED / f"{name}.yaml").classes:
        assert len(c.attributes) >= 8, c.class_id
        assert len(c.synonyms) >= 2, c.class_id
        assert len(c.analogous) >= 2, c.class_id
        assert len(c.one_to_one) >= 2, c.class_id


@pytest.mark.parametrize("name", TRADES)
def test_nothing_in_the_wording_of_a_trade_is_found_wrong(name: str) -> None:
    """One-sided pairs would not count, shared attributes would tell nothing."""
    assert check_wording(load_dictionary(making.SHIPPED / f"{name}.yaml")) == ()


def test_the_demo_has_no_dead_and_no_shared_text() -> None:
    found = check_wording(load_dictionary(making.SHIPPED / "demo.yaml"))
    assert {f.problem for f in found} <= {Problem.THIN}


@pytest.mark.parametrize("name", TRADES)
def test_japanese_synonyms_wait_as_drafts(name: str) -> None:
    texts = [t for c in load_dictionary(making.SHIPPED / f"{name}.yaml").classes for t in c.texts]
    japanese = [t for t in texts if t.language == "ja"]
    assert len(japanese) >= 5
    assert {t.status for t in japanese} == {Status.DRAFT}


@pytest.mark.parametrize("name", TRADES)
def test_the_list_of_the_trade_has_something_to_offer(name: str) -> None:
    trade = load_trade(making.SHIPPED / "trade" / f"{LISTS.get(name, name)}.yaml")
    offered = from_trade(load_dictionary(making.SHIPPED / f"{name}.yaml"), trade=trade)
    assert len(offered) >= 5
