"""Every verb is there, imports only what it needs, and ends with the documented code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from workers.__main__ import VERBS, build_app


def test_help_lists_every_verb_without_importing_torch() -> None:
    code = "import sys; from workers.__main__ import main; sys.argv = ['clearline', '--help']\ntry: main()\n"
    code += "except SystemExit: pass\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    done = CliRunner().invoke(build_app(verb), [verb, "--help"])
    assert done.exit_code == 0
    assert "--help" in done.output


def test_an_unknown_verb_is_a_usage_error() -> None:
    assert CliRunner().invoke(build_app("rnu"), ["rnu"]).exit_code == 2
