"""Parameters that are declared once: the constructor, what is let pass and what is documented follow."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, Literal, TypeVar, dataclass_transform, get_args, get_origin

from sklearn.utils._param_validation import Interval, StrOptions

Class = TypeVar("Class", bound=type)


def parameter(
    text: str, *constraints: Any, default: Any, kind: str | None = None, kw_only: bool = True
) -> Any:
    """Of a class with `with_parameters`: a parameter of its constructor.

    Parameters
    ----------
    text : str
        What it means.
    *constraints
        What scikit-learn's validation lets pass, any of them, beside what its type says: ``bool``, ``None``
        and ``Literal["these", "names"]``. None at all: everything.
    default : object
        Immutable.
    kind : str, optional
        Its type for the documentation, where that is not what is declared.
    kw_only : bool
        Whether it needs its name in a call.
    """
    about = {"kind": kind, "text": text, "constraints": list(constraints)}
    return field(default=default, kw_only=kw_only, metadata={"about": about})


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(parameter,))
def with_parameters(cls: Class) -> Class:
    """A class decorator: the constructor, what it lets pass, and a section of the docstring, in the place of
    ``{parameters}``; of the parameters that the class and its bases declare, those of the last base first.
    """
    dataclass(eq=False, repr=False, match_args=False)(cls)
    declared = {each.name: each.metadata["about"] for each in fields(cls)}
    for name, hint in inspect.get_annotations(cls, eval_str=True).items():
        complete(declared[name], hint)
    constraints = {name: about["constraints"] for name, about in declared.items() if about["constraints"]}
    cls._parameter_constraints = constraints  # type: ignore[attr-defined]
    lines = ["Parameters", "----------"]
    for name, each in inspect.signature(cls).parameters.items():
        lines += [
            f"{name} : {declared[name]['kind']}, default={each.default!r}",
            fill(declared[name]["text"]),
        ]
    if attributes := getattr(cls, "_attributes", ""):
        lines += ["", "Attributes", "----------", attributes.strip()]
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", "\n".join(lines) + "\n")
    return cls


def complete(about: dict[str, Any], hint: Any) -> None:
    """Add what the declared type says of a parameter."""
    constraints, kinds = about["constraints"], []
    for part in [hint] if get_origin(hint) is Literal else get_args(hint) or [hint]:
        if get_origin(part) is Literal:
            options = get_args(part)
            constraints.append(StrOptions(set(options)))
            kinds.append("{" + ", ".join(f'"{option}"' for option in options) + "}")
        elif part is NoneType:
            kinds.append("None")
            if constraints:
                constraints.append(None)
        elif part is bool and not constraints:
            kinds.append("bool")
            constraints.append("boolean")
        else:
            kinds.append(getattr(part, "__name__", "") + range_of(constraints))
    about["kind"] = about["kind"] or " or ".join(kinds)


def range_of(constraints: list[Any]) -> str:
    """An interval with two ends, for the documentation."""
    for each in constraints:
        if isinstance(each, Interval) and None not in (each.left, each.right):
            opens, closes = (
                "[("[each.closed in ("right", "neither")],
                "])"[each.closed in ("left", "neither")],
            )
            return f" in {opens}{each.left}, {each.right}{closes}"
    return ""


def fill(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
