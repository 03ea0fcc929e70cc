"""The nodes, machines and histories of the domain's, budgets', replay's and proof's tests serve here too."""

import sys
from pathlib import Path

for folder in ("domain", "budgets", "replay", "proof", "cli"):
    sys.path.append(str(Path(__file__).resolve().parent.parent / folder))
