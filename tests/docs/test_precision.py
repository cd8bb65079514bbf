"""docs/precision.md says what is measured: a few of its numbers, measured again, and the check that compares them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def precision(monkeypatch: pytest.MonkeyPatch):
    """Import a module of the generator, which is a folder of scripts."""
    monkeypatch.syspath_prepend(str(DOCS / "precision"))

    def find(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield find
    for name in ("steps", "tables"):
        sys.modules.pop(name, None)


@pytest.fixture
def page() -> str:
    return (DOCS / "precision.md").read_text("utf-8")


@pytest.mark.parametrize("part", ["swd_steps", "swd_whole", "msssim_steps"])
def test_the_page_says_what_is_measured(part: str, precision, page: str):
    table = getattr(precision("steps"), part)((16, 32))
    assert precision("tables").differences(table, page) == []


def test_every_table_is_on_the_page(page: str):
    for name in ("authors", "torch-fidelity", "smallest", "pytorch-msssim", "torchmetrics-network", "scikit-image"):
        assert page.count(f"<!-- {name} -->") == page.count(f"<!-- /{name} -->") == 1
    assert "{" not in page, "a place of the text was not filled"


class TestTables:
    @pytest.fixture
    def tables(self, precision) -> ModuleType:
        return precision("tables")

    def test_numbers_are_told_to_one_digit(self, tables: ModuleType):
        told = {0.0: "equal", 3e-16: "< 1e-12", 2.4e-7: "2e-7", 0.26: "0.3", 256: "256", 1.3: "1.3", None: ""}
        assert {value: tables.shown(value) for value in told} == told

    def test_rounding_of_another_machine_is_no_lie(self, tables: ModuleType):
        page = self._table(tables, 2e-7).markdown()
        for value in (2e-7, 4e-8, 1e-6):
            assert tables.differences(self._table(tables, value), page) == []
        assert tables.differences(self._table(tables, 0), self._table(tables, 1e-14).markdown()) == []

    @pytest.mark.parametrize("value", [1e-4, 1e-9, 0, None])
    def test_another_number_is_a_lie(self, tables: ModuleType, value: float | None):
        *_, found = tables.differences(self._table(tables, value), self._table(tables, 2e-7).markdown())
        assert found.startswith("steps, blur")
        assert "2e-7" in found

    def test_what_is_worse_than_it_is_held_to_is_told(self, tables: ModuleType):
        assert self._table(tables, 1e-5).broken() == []
        assert self._table(tables, 2e-5).broken() == ["steps: blur measures 2.0e-05, held to ≤ 1e-5"]
        for held, value in (("≥ 1e-3", 1e-4), ("equal", 1e-16), ("= 16", 32.0)):
            assert self._table(tables, value, held).broken(), held
        for held, value in (("≥ 1e-3", 1e-2), ("equal", 0.0), ("= 16", 16.0)):
            assert not self._table(tables, value, held).broken(), held

    def test_a_page_without_the_row_or_the_table_is_noticed(self, tables: ModuleType):
        table = self._table(tables, 1e-6)
        other = tables.Table("steps", ("16²",), (tables.Row("halve", "≤ 1e-5", (1e-6,)),))
        assert len(tables.differences(table, other.markdown())) == 2
        with pytest.raises(ValueError, match="no table steps"):
            tables.differences(table, "# Precision")

    @staticmethod
    def _table(tables: ModuleType, value: float | None, held: str = "≤ 1e-5"):
        return tables.Table("steps", ("16²",), (tables.Row("blur", held, (value,)),))
