"""The worlds of the domain's tests, and the command line of theirs, serve here as well."""

import sys
from pathlib import Path

for folder in ("domain", "cli"):
    sys.path.append(str(Path(__file__).resolve().parent.parent / folder))
