"""No module of the package can read a pickle, or run what it has read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
# What gives code or objects back from bytes; of `pickle` itself only the exceptions are used.
READERS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "pickle": ("load", "loads", "Unpickler"),
        "_pickle": ("load", "loads", "Unpickler"),
        "cloudpickle": ("load", "loads"),
        "dill": ("load", "loads"),
        "joblib": ("load",),
        "marshal": ("load", "loads"),
        "shelve": ("open",),
        "pandas": ("read_pickle",),
        "torch.hub": ("load", "load_state_dict_from_url"),
        "yaml": ("load", "load_all", "full_load", "unsafe_load"),
        "builtins": ("eval", "exec", "compile", "__import__"),
        "runpy": ("run_path", "run_module"),
    }.items()
    for name in names
)
# What reads pickles unless it is told not to.
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "sentence_transformers.SentenceTransformer": ("trust_remote_code", False),
}
# Methods, whatever they are called on.
METHODS_ONLY_WITH = {"load_from_checkpoint": ("weights_only", True)}
CHECKPOINT, SAFELY = "ckpt_path", ("weights_only", True)


def full_names(tree: ast.Module) -> dict[str, str]:
    """What the names that are imported in a module stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """A dotted name from its module on; empty for any other expression."""
    if isinstance(node, ast.Name):
        return names.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, names)}.{node.attr}"
    return ""


def says(call: ast.Call, wanted: tuple[str, bool]) -> bool:
    name, value = wanted
    return any(
        keyword.arg == name
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is value
        for keyword in call.keywords
    )


def unsafe(source: str) -> list[str]:
    """Where a module could run what it reads."""
    tree = ast.parse(source)
    names = full_names(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = full_name(node, names)
            # A function that is handed on may be called anywhere.
            if name in READERS or (name in ONLY_WITH and id(node) not in called):
                found.append(f"{name} in line {node.lineno}")
        elif isinstance(node, ast.Call):
            wanted = [ONLY_WITH.get(full_name(node.func, names))]
            if isinstance(node.func, ast.Attribute):
                wanted.append(METHODS_ONLY_WITH.get(node.func.attr))
            if any(keyword.arg == CHECKPOINT for keyword in node.keywords):
                wanted.append(SAFELY)
            found += [
                f"line {node.lineno} without {keyword}"
                for keyword in filter(None, wanted)
                if not says(node, keyword)
            ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_module_reads_a_pickle_or_runs_what_it_reads(path: Path) -> None:
    assert unsafe(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\nread = p.loads",
        "from pickle import loads\nloads(data)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=maybe)",
        "from torch import load\nload(path)",
        "import torch\nmap(torch.load, paths)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import joblib\njoblib.load(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.load(text)",
        "eval(text)",
        "exec(compile(text, name, 'exec'))",
        "Module.load_from_checkpoint(path)",
        "trainer.fit(module, ckpt_path=path)",
        "from sentence_transformers import SentenceTransformer\nSentenceTransformer(name)",
    ],
)
def test_what_would_be_unsafe_is_seen(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import json\njson.loads(text)",
        "model.eval()",
        "import pickle\ntry:\n    pass\nexcept pickle.UnpicklingError:\n    pass",
    ],
)
def test_what_is_safe_is_let_through(source: str) -> None:
    assert unsafe(source) == []


def test_all_sources_are_looked_at() -> None:
    assert {"store.py", "position.py", "text_encoder.py"} <= {path.name for path in SOURCES}
