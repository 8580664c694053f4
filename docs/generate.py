"""Write docs/api.md from the docstrings of the public names.

    python docs/generate.py

A test compares the file with what this script would write.
"""

import inspect
import re
import textwrap
from pathlib import Path

import skrnn
from skrnn import audio, forecasting, text
from skrnn.estimators.states import PooledState
from skrnn.estimators.streaming import Stream

GROUPS = {
    "Estimators": (
        "RNNRegressor",
        "LSTMRegressor",
        "GRURegressor",
        "RNNClassifier",
        "LSTMClassifier",
        "GRUClassifier",
    ),
    "Sequences": ("SequenceTransformer", "SequenceTargetRegressor"),
    "pandas": ("make_windows", "from_long_frame", "to_long_frame"),
    "Metrics": ("flat_accuracy_score", "flat_f1_score", "flat_r2_score", "flat_score", "flat_scorer"),
    "Plots": ("LossCurveDisplay",),
    "Reports of problems": ("show_versions",),
}
SCORERS = (
    "flat_accuracy_scorer",
    "flat_f1_scorer",
    "flat_r2_scorer",
    "flat_neg_mean_absolute_error_scorer",
    "flat_neg_mean_squared_error_scorer",
    "flat_neg_log_loss_scorer",
)


def methods(cls):
    """Public methods that the package itself defines, by name."""
    for name, member in sorted(inspect.getmembers(cls, callable)):
        module = getattr(inspect.unwrap(member), "__module__", "") or ""
        if not name.startswith("_") and module.startswith("skrnn"):
            yield name, member


def once(name, text, known):
    """A class's docstring, without what is `known` from an earlier class to the letter."""

    def shorter(run):
        parts, seen = re.findall(r"\S.*\n(?:    .*\n)+", run[0]), {}
        for part in parts:
            seen.setdefault(known.setdefault(part, name), []).append(part)
        lines = [*seen.pop(name, [])]
        for other, same in seen.items():
            names = ", ".join(part.split(" :")[0] for part in same)
            lines.append(textwrap.fill(f"{names} : as of {other}", 100, subsequent_indent="    ") + "\n")
        return "".join(lines)

    return re.sub(r"(?:^[\w, ]+ : .*\n(?:    .*\n)+)+", shorter, text + "\n", flags=re.M).rstrip()


def entry(name, thing, level, known):
    """One heading with a signature, and the docstring."""
    signature = inspect.signature(thing)
    plain = [
        p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name not in ("self", "cls")
    ]
    signature = str(signature.replace(parameters=plain, return_annotation=signature.empty))
    if len(signature) > 90:
        signature = "(...)"  # the docstring lists the parameters
    text = inspect.getdoc(thing)
    if inspect.isclass(thing):
        text = once(name, text, known)
    return f"{'#' * level} `{name}{signature}`\n\n```text\n{text}\n```\n"


def api():
    """The whole page."""
    described = {name for names in GROUPS.values() for name in names} | set(SCORERS)
    assert described == set(skrnn.__all__), described ^ set(skrnn.__all__)
    parts = ["# API reference\n\nMade from the docstrings by `docs/generate.py`.\n"]
    documented, known = set(), {}
    groups = {title: [(name, getattr(skrnn, name)) for name in names] for title, names in GROUPS.items()}
    groups["Streams and states"] = [("Stream", Stream), ("PooledState", PooledState)]
    for title, module in ("`skrnn.text`", text), ("`skrnn.audio`", audio):
        groups[title] = [
            (name, getattr(module, name)) for name in module.__all__ if not name.endswith("_scorer")
        ]
    groups["`skrnn.forecasting`"] = [(name, getattr(forecasting, name)) for name in forecasting.__all__]
    for title, things in groups.items():
        parts.append(f"## {title}\n")
        for name, thing in things:
            parts.append(entry(name, thing, 3, known))
            if not inspect.isclass(thing):
                continue
            for method, function in methods(thing):
                key = inspect.unwrap(
                    getattr(function, "__func__", function)
                )  # a class method of whichever class
                if key not in documented:  # inherited methods once, at the first class that has them
                    documented.add(key)
                    parts.append(entry(f"{name}.{method}", function, 4, known))
    audio_scorers = (f"audio.{name}" for name in audio.__all__ if name.endswith("_scorer"))
    scorers = ", ".join(f"`{name}`" for name in (*SCORERS, "text.span_f1_scorer", *audio_scorers))
    parts.append(f"Scorers that are there, for `scoring=`: {scorers}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(api(), encoding="utf-8")
