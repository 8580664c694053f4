"""The house rules: which module may import which, what an import costs, what is documented."""

import ast
import doctest
import inspect
import os
import pickle
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import stand_in

import skrnn
from skrnn import audio, backends, forecasting, text

PACKAGE = Path(skrnn.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What each module, or folder, may import of the package: the direction is downward only.
MAY_IMPORT = {
    "cells": set(),
    "counters": set(),
    "choosing": {"batches", "counters"},
    "optimizers": set(),
    "losses": set(),
    "sequences": set(),
    "batches": set(),
    "interrupts": set(),
    "history": set(),
    "layout": set(),
    "rooms": {"batches", "sequences"},
    "recording": {"batches", "layout", "sequences"},
    "backends": {
        "batches",
        "cells",
        "choosing",
        "counters",
        "interrupts",
        "optimizers",
        "layout",
        "recording",
    },
    "links": {"batches", "cells", "losses", "layout", "recording", "sequences"},
    "network": {"backends", "batches", "cells", "links", "layout", "recording", "sequences"},
    "recipe": {"backends", "cells", "links", "network", "recording"},
    "inference": {"interrupts", "network", "batches", "recording", "sequences"},
    "sessions": {"batches", "inference", "interrupts", "network", "recording", "rooms", "sequences"},
    "decoding": {"batches", "inference", "interrupts", "links", "network", "recording", "sequences"},
    "labelling": {"backends", "sequences"},
    "training": {
        "batches",
        "history",
        "interrupts",
        "links",
        "losses",
        "network",
        "recording",
        "rooms",
        "sequences",
        "sessions",
    },
    "estimators": {
        "backends",
        "history",
        "inference",
        "interrupts",
        "losses",
        "network",
        "optimizers",
        "recipe",
        "sequences",
        "rooms",
        "sessions",
        "training",
    },
    "preprocessing": {"estimators", "sequences"},
    "compose": {"estimators", "preprocessing", "sequences"},
    "forecasting": {"columns", "estimators", "interrupts", "recipe", "sequences"},
    "text": {
        "backends",
        "decoding",
        "estimators",
        "history",
        "inference",
        "interrupts",
        "losses",
        "network",
        "recipe",
        "sequences",
        "training",
    },
    "audio": {"estimators", "inference", "labelling", "network", "recipe", "sequences", "text", "training"},
    "columns": set(),
    "windows": {"columns", "sequences"},
    "metrics": {"estimators", "sequences"},
    "display": set(),
    "warmup": {"backends", "estimators", "recipe"},
    "about": {"backends"},
}
# Where each of the larger packages may be imported. Those marked are imported when used, not before.
SCIKIT_LEARN = {
    "estimators", "forecasting", "text", "audio", "preprocessing", "compose", "metrics", "display"
}  # fmt: skip
HOMES = {
    "numpy": set(MAY_IMPORT),
    "numba": {"backends"},
    "llvmlite": {"backends"},
    "sklearn": SCIKIT_LEARN,
    "scipy": SCIKIT_LEARN,
    "joblib": {"backends", "estimators", "forecasting"},
    "pandas": {"columns", "windows", "forecasting", "text"},
    "narwhals": {"forecasting"},
    "utilsforecast": {"forecasting"},
    "tqdm": {"estimators", "warmup"},
    "matplotlib": {"audio", "display", "forecasting", "text"},
    "cupy": {"backends"},
    "cuda": {"backends"},
    "filelock": {"backends"},
    "sacrebleu": {"text"},
    "soundfile": {"audio"},
}
WHEN_USED = {"tqdm", "matplotlib", "utilsforecast", "cupy", "cuda", "filelock", "sacrebleu", "soundfile"}


class Import:
    """One import statement's target: the full dotted name, and whether a plain import runs it."""

    def __init__(self, path, name, at_import):
        self.path, self.name, self.at_import = path, name, at_import

    def __repr__(self):
        return f"{self.path.relative_to(PACKAGE.parent)} imports {self.name}"

    @property
    def home(self):
        """The module or folder of the package that imports."""
        return self.path.relative_to(PACKAGE).with_suffix("").parts[0]

    @property
    def own(self):
        """The module or folder of the package that is imported, or None."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "skrnn" and len(parts) > 1 else None


def imports_of(path):
    """All imports of a file, relative ones resolved; those of types only are not counted."""
    package = ["skrnn", *path.relative_to(PACKAGE).parent.parts]
    found = []

    def visit(node, at_import):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(Import(path, alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found.extend(Import(path, ".".join([*base, a.name]), at_import) for a in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_import and not inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


IMPORTS = [i for path in SOURCES for i in imports_of(path)]


# --- imports --------------------------------------------------------------------------------------
def test_the_walk_sees_imports():
    names = {repr(i) for i in IMPORTS}
    assert "skrnn/network.py imports skrnn.backends" in names
    assert "skrnn/backends/cpu/recurrent_kernels.py imports skrnn.cells.Cell" in names
    assert "skrnn/backends/__init__.py imports skrnn.backends.cpu" in names
    assert {i.name: i.at_import for i in IMPORTS}["tqdm.auto.tqdm"] is False


def test_every_module_has_its_place():
    homes = {p.relative_to(PACKAGE).with_suffix("").parts[0] for p in SOURCES}
    assert homes == {*MAY_IMPORT, "__init__"}


def test_imports_flow_one_way():
    wrong = [
        i
        for i in IMPORTS
        if i.own is not None and i.own != i.home and i.own not in MAY_IMPORT.get(i.home, set())
    ]
    assert not wrong


def test_other_packages_stay_at_home():
    wrong = []
    for i in IMPORTS:
        other = i.name.split(".")[0]
        if other == "skrnn" or other in sys.stdlib_module_names:
            continue
        at_home = i.home in HOMES.get(other, set())
        if not at_home or (other in WHEN_USED and i.at_import):
            wrong.append(i)
    assert not wrong


def test_only_one_backend_knows_cuda():
    """And CuPy and what else the extra brings is imported when a GPU is used."""
    cuda = [i for i in IMPORTS if re.match(r"(numba\.cuda|cupy|cuda|filelock)\b", i.name)]
    assert len(cuda) > 10
    assert {i.path.parent for i in cuda} == {PACKAGE / "backends" / "cuda"}


def modules_after(statement):
    """Names of the top-level modules that a fresh process has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_large():
    large = set(HOMES)
    assert not modules_after("import skrnn") & large
    loaded = modules_after("from skrnn import LSTMRegressor")
    assert "sklearn" in loaded  # which itself loads pandas where that is installed
    assert not loaded & {"numba", "llvmlite", "matplotlib", "tqdm", "torch"}
    assert "pandas" in modules_after("from skrnn import make_windows")


# --- files ----------------------------------------------------------------------------------------
def test_files_stay_short():
    for path in SOURCES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_files_of_tests_stay_short():
    for path in Path(__file__).parent.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, path


def test_a_class_has_a_name_of_its_own():
    """Those of the backends have each other's; they are never seen together."""
    names = [
        node.name
        for path in SOURCES
        if path.parent.parent.name != "backends"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert len(names) == len(set(names))


def test_benchmarks_import_downward():
    root = PACKAGE.parent
    if not (root / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not here")
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / "benchmarks").rglob("*.py")
    }
    graph = {}
    for name, path in modules.items():
        found = graph.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {each if each in modules else node.module for each in whole} & modules.keys()
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_drawer_for_the_rest():
    assert not {p.stem for p in SOURCES} & {"utils", "util", "helpers", "misc", "common"}


def test_no_compiled_function_on_an_estimator():
    """What is pickled holds arrays and numbers; kernels are found again by the process that loads it."""
    X = np.zeros((4, 3, 2))
    for cls in (skrnn.LSTMRegressor, skrnn.GRUClassifier):
        fitted = cls(2, max_iter=1).fit(X, [0, 1, 0, 1])
        stored = pickle.dumps(fitted)
        for word in (b"numba", b"skrnn.network", b"skrnn.backends"):
            assert word not in stored


# --- names and docstrings -------------------------------------------------------------------------
def test_public_names_resolve():
    assert sorted(set(skrnn.__all__)) == skrnn.__all__
    for name in skrnn.__all__:
        assert getattr(skrnn, name) is not None
        assert name in dir(skrnn)
    with pytest.raises(AttributeError, match="no attribute 'LSTMRegresor'"):
        skrnn.LSTMRegresor  # noqa: B018
    # What a type checker sees is what there is.
    block = next(n for n in ast.parse(Path(skrnn.__file__).read_text()).body if isinstance(n, ast.If))
    typed = {alias.asname for node in block.body for alias in node.names}
    assert typed == set(skrnn.__all__)


def section(docstring, title):
    """Text of a numpydoc section."""
    parts = re.split(r"^(\w[^\n]*)\n-{3,}\n", docstring, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "")


def described(docstring, title="Parameters"):
    """Names that a section describes: ``x, y : type``."""
    heads = re.findall(r"^(\S.*?) ?(?::.*)?$", section(docstring, title), re.M)
    return {name.strip(" `*") for head in heads for name in head.split(",")}


def parameters(function):
    skipped = {"self", "cls"}
    return {n.strip("*") for n in inspect.signature(function).parameters} - skipped


CLASSES = [getattr(skrnn, n) for n in skrnn.__all__ if inspect.isclass(getattr(skrnn, n))]
FUNCTIONS = [getattr(skrnn, n) for n in skrnn.__all__ if inspect.isfunction(getattr(skrnn, n))]
METHODS = {
    f"{cls.__name__}.{name}": method
    for cls in CLASSES
    for name, method in inspect.getmembers(cls, inspect.isroutine)
    if not name.startswith("_") and getattr(method, "__module__", "").startswith("skrnn")
}


def test_the_public_interface_is_seen():
    assert len(CLASSES) >= 8
    assert len(FUNCTIONS) >= 6
    some = {"LSTMRegressor.fit", "GRUClassifier.predict_proba", "RNNRegressor.from_weights"}
    assert some <= set(METHODS)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_classes_describe_every_parameter(cls):
    docstring = inspect.getdoc(cls)
    assert docstring.splitlines()[0].endswith(".")
    assert described(docstring) >= parameters(cls.__init__)
    assert described(docstring) <= parameters(cls.__init__), "parameters that there are not"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_describe_every_parameter(function):
    docstring = inspect.getdoc(function)
    assert described(docstring) >= parameters(function)
    assert section(docstring, "Returns")


@pytest.mark.parametrize("name", METHODS)
def test_methods_describe_every_parameter(name):
    docstring = inspect.getdoc(METHODS[name])
    assert docstring, "no docstring"
    missing = parameters(METHODS[name]) - described(docstring)
    assert not missing


def find_examples():
    """Of public names, and of the methods of what is in `skrnn.text`, `.audio` and `.forecasting`."""
    finder, found = doctest.DocTestFinder(recurse=False), {}
    things = [(name, getattr(skrnn, name)) for name in skrnn.__all__]
    for package in text, audio, forecasting:
        for name, value in ((name, getattr(package, name)) for name in package.__all__):
            things.append((name, value))
            if inspect.isclass(value):
                methods = inspect.getmembers(value, inspect.isfunction)
                things += [(method.__qualname__, method) for own, method in methods if own[0] != "_"]
    for name, value in things:
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("skrnn"):
            for test in finder.find(value, name, module=import_module(value.__module__)):
                found[test.name] = test
    return [test for test in found.values() if test.examples]


EXAMPLES = find_examples()


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda t: t.name)
def test_docstring_examples(test):
    out = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    doctest.DocTestRunner(optionflags=flags).run(test, out=out.append)
    assert not out, "".join(out)


def test_estimators_have_examples():
    shown = {test.name for test in EXAMPLES}
    assert {c.__name__ for c in CLASSES if c.__module__.startswith("skrnn.estimators")} <= shown


def test_the_backend_offers_the_contract_and_the_network_asks_for_no_more():
    for device in "cpu", "cuda":
        assert all(hasattr(backends.get(device), name) for name in stand_in.NAMES)
    asked = set()
    modules = (
        "recording",
        "network",
        "inference",
        "decoding",
        "training",
        "estimators/fitted",
        "estimators/fitting",
        "estimators/prediction",
    )
    for path in (*(PACKAGE / f"{module}.py" for module in modules), *(PACKAGE / "links").glob("*.py")):
        asked |= set(re.findall(r"\bbackend\.(\w+)", path.read_text(encoding="utf-8")))
    assert asked == stand_in.NAMES
