"""Features worked out at the moment of asking: one Python function on columns, the same offline and online."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.errors import ProjectError
from millrace.core.ids import canonical_json, digest_json
from millrace.features.field import DTYPES, Field, ValueKind, unknown_dtype

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class OnDemandView:
    """A function from columns to columns. Made by `on_demand`; calling it calls the function.

    Parameters
    ----------
    name : str
    function : callable
        Takes one array per input, each of n values, by keyword; returns one array of n values per output: a mapping
        by name, or the array itself when there is one output.
    inputs : mapping of str to str or Field
        The function's arguments: a stored feature as ``view:feature``, or a `Field` that comes with the request and,
        offline, with the rows.
    outputs : mapping of str to str
        The features it gives, and their types.
    description, owner : str
    tags : sequence of str

    Notes
    -----
    Numbers and booleans come as float64 with NaN for null, so that the function sees the same types whatever the
    values are; times as ``datetime64[us]`` with NaT; strings and arrays as objects, None for null. A row's answer may
    depend on that row alone: `get_historical_features` checks that with single rows.
    """

    name: str
    function: Callable[..., Any] = field(kw_only=True, repr=False)
    inputs: Mapping[str, str | Field] = field(kw_only=True)
    outputs: Mapping[str, str] = field(kw_only=True)
    description: str = field(default="", kw_only=True)
    owner: str = field(default="", kw_only=True)
    tags: Sequence[str] = field(default=(), kw_only=True)
    place: str | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        object.__setattr__(self, "tags", tuple(self.tags))
        for problem in _problems(self):
            problem.where = self.place
            report(problem)

    def __hash__(self) -> int:
        return hash(self.name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.function(*arguments, **options)

    @property
    def stored(self) -> dict[str, str]:
        """The arguments that are features of the store, and which."""
        return {name: one for name, one in self.inputs.items() if isinstance(one, str)}

    @property
    def requested(self) -> dict[str, Field]:
        """The arguments that a request brings along."""
        return {name: one for name, one in self.inputs.items() if isinstance(one, Field)}

    @property
    def kinds(self) -> dict[str, ValueKind]:
        """The kind of each output."""
        return {name: DTYPES.get(dtype, "null") for name, dtype in self.outputs.items()}

    def digest(self) -> str:
        """SHA-256 of inputs, outputs and code; a change of comments or layout leaves it.

        Functions and plain values of the same file that it uses count with it; libraries do not.
        """
        return digest_json(
            {
                "inputs": {
                    name: one if isinstance(one, str) else {"name": one.name, "dtype": one.dtype}
                    for name, one in self.inputs.items()
                },
                "outputs": dict(self.outputs),
                "code": _code(self.function),
                "uses": _uses(self.function, {}),
            }
        )


def on_demand(
    *,
    inputs: Mapping[str, str | Field],
    outputs: Mapping[str, str],
    name: str | None = None,
    description: str | None = None,
    owner: str = "",
    tags: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], OnDemandView]:
    """Make a function on columns a view of features, worked out when they are asked for.

    Parameters
    ----------
    inputs : mapping of argument to ``view:feature`` or Field
    outputs : mapping of feature to type
        Types as those of `Field`.
    name : str, optional
        The view's name; the function's when None.
    description : str, optional
        The first line of the function's docstring when None.

    Returns
    -------
    callable
        A decorator that turns the function into an `OnDemandView`.
    """
    place = caller_place()

    def decorate(function: Callable[..., Any]) -> OnDemandView:
        told = (inspect.getdoc(function) or "").partition("\n")[0]
        return OnDemandView(
            name or function.__name__,
            function=function,
            inputs=dict(inputs),
            outputs=dict(outputs),
            description=told if description is None else description,
            owner=owner,
            tags=tags,
            place=place,
        )

    return decorate


def _code(function: Callable[..., Any]) -> Any:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        # Made without a file, as in an interpreter: what it was compiled to is all that is known.
        code = function.__code__
        return [code.co_code.hex(), [repr(one) for one in code.co_consts], list(code.co_names)]
    body = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    if body is None:
        return ast.dump(tree)
    body.decorator_list = []
    if ast.get_docstring(body) is not None:
        body.body = body.body[1:] or [ast.Pass()]
    return ast.dump(body)


def _uses(function: Callable[..., Any], found: dict[str, Any]) -> dict[str, Any]:
    """What a function takes from around it: code of functions of its file, and values that JSON can say."""
    code = function.__code__
    around = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for name in sorted(_names(code)):
        value = around.get(name)
        if name in found or value is None:
            continue
        if inspect.isfunction(value):
            if value.__module__ == function.__module__:
                found[name] = _code(value)
                _uses(value, found)
            continue
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            continue  # a module, a class, an array: not a plain value
        found[name] = value
    return found


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names) | set(code.co_freevars) | set().union(*inner)


def _problems(view: OnDemandView) -> list[ProjectError]:
    found = []
    for what, name in [("on-demand view", view.name), *(("feature", name) for name in view.outputs)]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            found.append(ProjectError("PROJ-42", f"{what} name {name!r}", fix="letters, digits and _"))
    if not view.outputs or not view.inputs:
        missing = "outputs" if view.inputs else "inputs"
        found.append(
            ProjectError(
                "PROJ-43",
                f"on-demand view '{view.name}' has no {missing}",
                fix='@mr.on_demand(inputs={"spend": "view:spend"}, outputs={"spend_log": "float"})',
            )
        )
    found += [unknown_dtype(name, dtype, None) for name, dtype in view.outputs.items() if dtype not in DTYPES]
    for name, one in view.inputs.items():
        if not isinstance(one, Field) and not (isinstance(one, str) and all(one.partition(":"))):
            found.append(
                ProjectError(
                    "PROJ-43",
                    f"input '{name}' of on-demand view '{view.name}' is {one!r}",
                    fix='write "view:feature" for a stored feature, mr.Field(name, type) for what a request brings',
                )
            )
    return found + _argument_problems(view)


def _argument_problems(view: OnDemandView) -> list[ProjectError]:
    try:
        inspect.signature(view.function).bind(**dict.fromkeys(view.inputs))
    except TypeError as error:
        return [
            ProjectError(
                "PROJ-43",
                f"on-demand view '{view.name}' cannot be called with its inputs: {error}",
                fix=f"def {view.name}({', '.join(view.inputs)}): ...",
            )
        ]
    return []
