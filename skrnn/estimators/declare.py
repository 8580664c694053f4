"""Parameters that are declared once: the constructor, what is let pass and what is documented follow."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass, field, make_dataclass, replace
from types import NoneType
from typing import Any, Literal, TypeVar, dataclass_transform, get_args, get_origin

from sklearn.utils._param_validation import Interval, StrOptions

Class = TypeVar("Class", bound=type)


@dataclass
class Parameter:
    """See `parameter`; `hint` is the type that it was declared with."""

    text: str
    constraints: list[Any]
    default: Any
    kind: str | None
    kw_only: bool
    hint: Any = None


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
    return Parameter(text, list(constraints), default, kind, kw_only)


def like(cls: Any, name: str, *, default: Any) -> Any:
    """A parameter as another class declares it."""
    return replace(cls._declared[name], default=default)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(parameter, like))
def with_parameters(cls: Class) -> Class:
    """A class decorator: the constructor, what it lets pass, and a section of the docstring, in the place of
    ``{parameters}``; of the parameters that the class and its bases declare, those of the last base first.

    Its constructor is that of a dataclass. The class is none: tools would take two fitted models with equal
    parameters for the same.
    """
    cls._declared = own = {}  # type: ignore[attr-defined]
    for name, hint in inspect.get_annotations(cls, eval_str=True).items():
        if isinstance(declared := vars(cls).get(name), Parameter):
            if declared.hint is None:
                declared.hint = hint
                complete(declared)
            own[name] = declared
            setattr(cls, name, declared.default)
    every: dict[str, Parameter] = {}
    for base in reversed(cls.__mro__):
        every |= vars(base).get("_declared", {})
    fields = [(name, p.hint, field(default=p.default, kw_only=p.kw_only)) for name, p in every.items()]
    init = vars(make_dataclass(cls.__name__, fields, eq=False, repr=False))["__init__"]
    init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    cls.__init__ = init  # type: ignore[misc]
    cls._parameter_names = tuple(every)  # type: ignore[attr-defined]
    constraints = {name: p.constraints for name, p in every.items() if p.constraints}
    cls._parameter_constraints = constraints  # type: ignore[attr-defined]
    lines = ["Parameters", "----------"]
    for name in inspect.signature(cls).parameters:
        p = every[name]
        lines += [f"{name} : {p.kind}, default={p.default!r}", fill(p.text)]
    if attributes := getattr(cls, "_attributes", ""):
        lines += ["", "Attributes", "----------", attributes.strip()]
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", "\n".join(lines) + "\n")
    return cls


def complete(p: Parameter) -> None:
    """Add what the declared type says."""
    constraints, kinds = p.constraints, []
    for part in [p.hint] if get_origin(p.hint) is Literal else get_args(p.hint) or [p.hint]:
        if get_origin(part) is Literal:
            options = get_args(part)
            constraints.append(StrOptions(set(options)))
            kinds.append("{" + ", ".join(f'"{option}"' for option in options) + "}")
        elif part is NoneType:
            kinds.append("None")
            if constraints and "random_state" not in constraints:  # which lets it pass already
                constraints.append(None)
        elif part is bool and not constraints:
            kinds.append("bool")
            constraints.append("boolean")
        else:
            kinds.append(getattr(part, "__name__", "") + range_of(constraints))
    p.kind = p.kind or " or ".join(kinds)


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
