#!/usr/bin/env bash
# torch 2.14.1: torch.compile and a slice that a tuple of constants or a default argument holds.
# One would guess: `rows is WHOLE` is what it is without the compiler, or the compiler refuses it.
# What happens: it is false for WHOLE itself, in every backend and with fullgraph=True; the other branch
#   runs, and the numbers are other ones, silently. `rows == WHOLE` is right.
# Why it matters: losses over neighbouring pixels keep their windows as slices and tell them apart by identity.
#   A render that is compiled then has another loss than the one that was tested.
# Source: the documentation of torch.compile promises the results of eager mode; slices are rebuilt from their
#   three numbers when they are traced.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# On Linux, torch for the CPU is enough: https://download.pytorch.org/whl/cpu has it without CUDA.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "torch>=2.14.1,<2.14.2" numpy

"$work/venv/bin/python" - <<'PYTHON'
import sys
import tempfile
from pathlib import Path

import torch

print(f"torch {torch.__version__}")
# The compiler reads a function's source, so it needs a file.
folder = tempfile.mkdtemp()
Path(folder, "windows.py").write_text(
    """
WHOLE = slice(None)
BELOW = slice(1, None)
WINDOWS = (WHOLE, BELOW)

def by_identity(x):
    return sum(x[rows].sum() * (1 if rows is WHOLE else 10) for rows in WINDOWS)

def by_value(x):
    return sum(x[rows].sum() * (1 if rows == WHOLE else 10) for rows in WINDOWS)

def default(x, rows=WHOLE):
    return x[rows].sum() * (1 if rows is WHOLE else 10)
"""
)
sys.path.insert(0, folder)
import windows

seen = {}
for name in ("by_identity", "by_value", "default"):
    function = getattr(windows, name)
    x = torch.ones(4)
    plain = function(x).item()
    for backend in ("eager", "aot_eager"):
        torch.compiler.reset()
        compiled = torch.compile(function, fullgraph=True, backend=backend)(x).item()
        print(f"{name}: {plain:g}, compiled with {backend} {compiled:g}")
        seen[name, backend] = (plain, compiled)

expected = {"by_identity": (34.0, 70.0), "by_value": (34.0, 34.0), "default": (4.0, 40.0)}
if any(seen[name, backend] != expected[name] for name, backend in seen):
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: the compiler takes one slice for two, and computes other numbers without a word")
PYTHON
