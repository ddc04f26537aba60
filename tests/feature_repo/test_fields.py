"""The catalogue is whole, its page is its own, and its hash changes with whatever changes a number."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import feature_repo
from feature_repo.constants import ENGINE, MODEL, ORDER, SIGNAL
from feature_repo.features_page import features_page, main
from feature_repo.field_terms import REFERENCES
from feature_repo.fields import (
    CATALOGUE_HASH,
    CHANNELS,
    CONTEXT,
    CTX_NAMES,
    FIELDS,
    MARKET,
    ContextField,
    Field,
    MarketField,
    align,
    catalogue_hash,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_page_is_that_of_the_catalogue():
    assert PAGE.read_text(encoding="utf-8") == features_page(), (
        "docs/features.md is not what the catalogue says: run `python -m feature_repo.features_page docs/features.md`"
    )


@pytest.mark.parametrize("shape", [(), (1,), (64,), (128,), (129,), (3, 64), (2, 200), (0, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signed_channels_turn_with_the_side(shape, dtype):
    x = np.random.default_rng(0).normal(size=(*shape, len(FIELDS))).astype(dtype)
    for side in (1, -1):
        want = np.stack(
            [x[..., c] * side if f.alignment == "signed" else x[..., c] for c, f in enumerate(FIELDS)], axis=-1
        ).astype(np.float32)
        out = np.full(x.shape, np.nan, np.float32)
        for got in (align(x, side), align(x, side, out), out):
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, want)
    assert not np.shares_memory(align(x, 1), x)
    assert align(x, 1, out) is out


def test_the_command_writes_the_page_or_prints_it(tmp_path, capsys):
    assert main([str(tmp_path / "docs" / "features.md")]) == 0
    assert (tmp_path / "docs" / "features.md").read_text(encoding="utf-8") == features_page()
    assert main([]) == 0
    assert capsys.readouterr().out == features_page()


def test_every_table_of_the_page_is_well_formed_and_names_every_field_once():
    named = []
    for block in re.findall(r"(?:^\|.*\n)+", features_page(), re.M):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(cell.strip() for row in rows for cell in row)
        named += [name for row in rows for cell in row for name in re.findall(r"^`(\w+)`$", cell.strip())]
    assert named == [*CHANNELS, *(f.name for f in MARKET), *CTX_NAMES]


def test_names_are_unique_and_as_many_as_the_model_takes():
    assert len(set(CHANNELS)) == len(CHANNELS) == MODEL.C
    assert len(set(CTX_NAMES)) == len(CTX_NAMES) == MODEL.ctx
    assert all(name.isidentifier() for name in (*CHANNELS, *CTX_NAMES))


def test_every_reference_is_known_and_used():
    cited = {name for f in FIELDS for name in f.reference.split("; ")}
    assert cited - {"own"} == REFERENCES.keys()


def changed(part: tuple, name: str, i: int = 0) -> tuple:
    return (*part[:i], replace(part[i], **{name: getattr(part[i], name) + "?"}), *part[i + 1 :])


@pytest.mark.parametrize("i", [0, len(FIELDS) - 1])
@pytest.mark.parametrize("name", [f.name for f in fields(Field)])
def test_the_hash_binds_all_of_a_channel_but_its_reference(name, i):
    assert (catalogue_hash(fields=changed(FIELDS, name, i)) == CATALOGUE_HASH) == (name == "reference")


@pytest.mark.parametrize("name", [f.name for f in fields(MarketField)])
def test_the_hash_binds_the_market_row(name):
    assert catalogue_hash(market=changed(MARKET, name)) != CATALOGUE_HASH


@pytest.mark.parametrize("name", [f.name for f in fields(ContextField)])
def test_the_hash_binds_the_context(name):
    assert catalogue_hash(context=changed(CONTEXT, name)) != CATALOGUE_HASH


@pytest.mark.parametrize("part", ["fields", "market", "context"])
def test_the_hash_binds_the_order(part):
    whole = {"fields": FIELDS, "market": MARKET, "context": CONTEXT}[part]
    assert catalogue_hash(**{part: whole[::-1]}) != CATALOGUE_HASH


def hash_of_defaults(**changes: object) -> str:
    """The hash that the catalogue's own text gives where ``constants`` has other defaults."""
    copy = ModuleType("catalogue_copy")
    copy.__path__ = feature_repo.__path__
    sys.modules["catalogue_copy"] = copy
    try:
        constants = importlib.import_module("catalogue_copy.constants")
        for name, value in changes.items():
            setattr(constants, name, value)
        return importlib.import_module("catalogue_copy.fields").CATALOGUE_HASH
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "catalogue_copy"]:
            del sys.modules[name]


def other(value: object) -> object:
    """Another value of the same kind; times stay whole seconds and whole windows."""
    if isinstance(value, tuple):
        return (value[0], *(other(v) for v in value[1:]))
    return value + 1000 if isinstance(value, int) and value >= 1000 else value + 1


def test_a_copy_of_the_catalogue_has_its_hash():
    assert hash_of_defaults() == CATALOGUE_HASH


@pytest.mark.parametrize("name", [f.name for f in fields(ENGINE)])
def test_the_hash_binds_every_default_of_the_engine(name):
    defaults = replace(ENGINE, **{name: other(getattr(ENGINE, name))})
    assert hash_of_defaults(ENGINE=defaults) != CATALOGUE_HASH


def test_the_hash_binds_the_order_size_and_the_span_of_extremes():
    assert hash_of_defaults(ORDER=replace(ORDER, base_size_usd=20_000.0)) != CATALOGUE_HASH
    assert hash_of_defaults(SIGNAL=replace(SIGNAL, extreme_s=30)) != CATALOGUE_HASH
