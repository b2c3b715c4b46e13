"""The generator of the dashboards, which is a script and not a package."""

from __future__ import annotations

import sys
from types import ModuleType

from tests.conftest import ROOT

GRAFANA = ROOT / "deploy" / "grafana"


def load() -> tuple[ModuleType, ModuleType]:
    """Its modules `generate` and `panels`."""
    sys.path.insert(0, str(GRAFANA))
    try:
        import generate
        import panels
    finally:
        sys.path.remove(str(GRAFANA))
    return generate, panels
