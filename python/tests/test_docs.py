"""The examples of the docstrings, and the reference that is written from them."""

import doctest
import importlib
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["_estimator", "_detector", "_questions"])
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f"isovae.{module}"))
    assert result.failed == 0 and result.attempted > 0


def test_reference_is_current():
    page = runpy.run_path(str(ROOT / "scripts/python-docs.py"))["page"]()
    assert page == (ROOT / "docs/python.md").read_text(encoding="utf-8"), (
        "run scripts/python-docs.py"
    )
