"""Tests of the documentation import the scripts that make the site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "generate"))
