"""Rewrite any JAX function, equation by equation.

A traced function is data: a jaxpr, a list of equations, each a primitive applied to values. `rewrite` walks the list,
lets rules replace equations, and follows calls (`jit`, `custom_jvp`, `custom_vjp`, `remat`, `shard_map`) and control flow
(`scan`, `while_loop`, `cond`) into their bodies, whose structure it keeps. `opened` replaces calls by their bodies, so that
the equations can be read from top to bottom. The caller's function is not changed, and the result can be jitted,
mapped and differentiated like any other; a function with a derivative of its own, once its body is changed, like that
body.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

Rewriting = Callable[[JaxprEqn, Sequence[Any]], Sequence[Any] | None]
Wanted = Callable[[JaxprEqn], bool]
Function = TypeVar("Function", bound=Callable[..., Any])

_PLAIN_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})  # the same as their bodies
_CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call"})  # with derivatives of their own
_REMAT = frozenset({"checkpoint", "remat", "remat2"})  # with bodies that have no place for constants
_CALLS = _PLAIN_CALLS | _CUSTOM | _REMAT  # and their derivatives


class Trace(NamedTuple):
    """A traced call of a function.

    Attributes:
      closed: the jaxpr, of flat inputs and outputs.
      inputs: the leaves of the arguments, in the order of the jaxpr's inputs.
      structure: of the outputs.
    """

    closed: ClosedJaxpr
    inputs: list[Any]
    structure: Any


def trace(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Trace:
    """Trace a function of pytrees of arrays, or of `jax.ShapeDtypeStruct`s. Truth values and texts, such as `train=False`,
    stay what they are."""
    leaves, structure = jax.tree.flatten((arguments, keywords))
    traced = [not isinstance(leaf, bool | str) for leaf in leaves]
    values = [leaf for leaf, is_traced in zip(leaves, traced, strict=True) if is_traced]

    def flat(*values: Any) -> Any:
        rest = iter(values)
        known = [next(rest) if is_traced else leaf for leaf, is_traced in zip(leaves, traced, strict=True)]
        arguments, keywords = jax.tree.unflatten(structure, known)
        return function(*arguments, **keywords)

    closed, shape = jax.make_jaxpr(flat, return_shape=True)(*values)
    return Trace(closed, values, jax.tree.structure(shape))


def interpreted(function: Callable[..., Any], plan: Callable[[ClosedJaxpr], tuple[ClosedJaxpr, Rewriting]]) -> Callable[..., Any]:
    """A function whose calls are traced and evaluated anew: by the jaxpr and the rule that a plan makes of the trace."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        traced = trace(function, *arguments, **keywords)
        closed, rule = plan(traced.closed)
        return jax.tree.unflatten(traced.structure, evaluate(closed, traced.inputs, rule))

    return call


def rewrite(function: Function, rule: Rewriting) -> Function:
    """Replace some equations of a function.

    Args:
      function: of pytrees of arrays.
      rule: from an equation and the values of its inputs to the values of its outputs, or None to leave the equation
        as it is.

    Returns:
      A function of the same signature. It traces `function` at each call; under `jit`, once.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def double_sines(equation, values):
      ...     return [2 * jnp.sin(values[0])] if equation.primitive.name == "sin" else None
      >>> f = jax.jit(lambda x: jnp.sin(x) + 1)
      >>> float(rewrite(f, double_sines)(jnp.pi / 2))
      3.0
    """
    return functools.wraps(function)(interpreted(function, lambda closed: (closed, _opening(rule))))  # type: ignore[return-value]


def evaluate(closed: ClosedJaxpr, arguments: Sequence[Any], rule: Rewriting, wanted: Wanted | None = None) -> list[Any]:
    """Evaluate a jaxpr, with its equations passed through a rule.

    The rule replaces `wanted` equations alone; bodies without any are not traced anew, which saves most of the time and
    keeps what they share. None: the rule may replace any equation.
    """
    jaxpr = closed.jaxpr
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))
    run(jaxpr.eqns, environment, rule, wanted)
    return [read(environment, atom) for atom in jaxpr.outvars]


def run(equations: Iterable[JaxprEqn], environment: dict[Any, Any], rule: Rewriting, wanted: Wanted | None = None) -> None:
    """Evaluate equations in order; the environment maps variables to values, and receives the outputs."""
    for equation in equations:
        values = [read(environment, atom) for atom in equation.invars]
        with equation.ctx.manager, contextlib.ExitStack() as scopes:
            for name in scope_of(equation):
                scopes.enter_context(jax.named_scope(name))
            outputs = rule(equation, values)
            if outputs is None and rule is not unchanged and equation.primitive.name == "shard_map":
                outputs = _within_shards(equation, values, rule, wanted)
            if outputs is None:
                parameters = {name: _rewritten(value, rule, wanted) for name, value in equation.params.items()}
                outputs = equation.primitive.bind(*values, **equation.primitive.get_bind_params(parameters))
                outputs = outputs if equation.primitive.multiple_results else [outputs]
        environment.update(zip(equation.outvars, outputs, strict=True))


def _within_shards(equation: JaxprEqn, values: Sequence[Any], rule: Rewriting, wanted: Wanted | None) -> list[Any]:
    """The outputs of a `shard_map` whose body passes through a rule, within its mesh, whose axes the body may name."""
    [body], given = bodies(equation), equation.params
    manual = next(given[name] for name in ("newly_manual_axes", "manual_axes") if name in given)  # by the version of JAX
    mapped: Any = jax.shard_map(
        lambda *shards: tuple(evaluate(body, shards, rule, wanted)),
        mesh=given["mesh"],
        in_specs=tuple(given["in_specs"]),
        out_specs=tuple(given["out_specs"]),
        axis_names=set(manual),
        check_vma=given["check_vma"],
    )
    return list(mapped(*values))


def _opening(rule: Rewriting) -> Rewriting:
    """The rule that also evaluates a body in place of its call, where the call cannot hold what the rule makes of it: the body
    of a function with a derivative of its own, once it is changed, and constants in that of `remat`."""

    def opening(equation: JaxprEqn, values: Sequence[Any]) -> Sequence[Any] | None:
        outputs = rule(equation, values)
        if outputs is not None or equation.primitive.name not in _CUSTOM | _REMAT:
            return outputs
        changes = 0

        def counting(inner: JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any] | None:
            nonlocal changes
            found = opening(inner, inputs)
            changes += found is not None
            return found

        [body] = bodies(equation)
        closed = jax.make_jaxpr(lambda *inner: evaluate(body, inner, counting))(*body.in_avals)
        if not changes or (equation.primitive.name in _REMAT and not closed.consts):
            return None
        return evaluate(closed, values, unchanged)

    return opening


def read(environment: dict[Any, Any], atom: Any) -> Any:
    """The value of a variable, or of a literal."""
    return atom.val if isinstance(atom, Literal) else environment[atom]


def unchanged(equation: JaxprEqn, values: Sequence[Any]) -> None:
    """The rule that leaves every equation as it is."""


def opened(closed: ClosedJaxpr, wanted: Wanted = lambda equation: False) -> ClosedJaxpr:
    """Replace the calls in a jaxpr by their bodies, recursively; `scope_of` gives the calls' names.

    Args:
      closed: any jaxpr.
      wanted: the equations that should come to the surface. Calls with custom derivatives or rematerialisation
        (`custom_jvp`, `custom_vjp`, `remat`) are opened only if they contain such an equation, and are then
        differentiated like their bodies. Control flow is never opened.

    Example:
      >>> closed = jax.make_jaxpr(jax.jit(lambda x: jax.nn.relu(x) + 1))(1.0)
      >>> [equation.primitive.name for equation in opened(closed).jaxpr.eqns]
      ['custom_jvp_call', 'add']
      >>> [equation.primitive.name for equation in opened(closed, lambda e: e.primitive.name == "max").jaxpr.eqns]
      ['max', 'add']
    """

    def rule(equation: JaxprEqn, values: Sequence[Any]) -> list[Any] | None:
        if equation.primitive.name not in _CALLS:
            return None
        if equation.primitive.name in _PLAIN_CALLS or any(wanted(inner) for inner in inside(equation)):
            [body] = bodies(equation)
            name = equation.params.get("name") or equation.primitive.name
            with jax.named_scope(f"{name} {next(numbers)}"):
                return evaluate(body, values, rule)
        return None

    numbers = itertools.count()
    return jax.make_jaxpr(lambda *values: evaluate(closed, values, rule))(*closed.in_avals)


def scope_of(equation: JaxprEqn) -> tuple[str, ...]:
    """The names of the calls that an equation of an opened jaxpr came from, the outermost first, each with a number.

    Example:
      >>> surface = opened(jax.make_jaxpr(jax.nn.relu6)(1.0), lambda equation: equation.primitive.name == "max")
      >>> scope_of(surface.jaxpr.eqns[0])
      ('custom_jvp_call 0', 'relu6 1')
    """
    return tuple(scope.name for scope in equation.source_info.name_stack.stack if type(scope).__name__ == "Scope")


def bodies(equation: JaxprEqn) -> list[ClosedJaxpr]:
    """The jaxprs among an equation's parameters: the bodies of a call or a loop, or the branches of a condition."""
    parts = [part for value in equation.params.values() for part in (value if type(value) is tuple else (value,))]
    return [part if isinstance(part, ClosedJaxpr) else ClosedJaxpr(part, ()) for part in parts if isinstance(part, ClosedJaxpr | Jaxpr)]


def inside(equation: JaxprEqn) -> Iterator[JaxprEqn]:
    """All equations in the bodies of an equation, at any depth."""
    for body in bodies(equation):
        for inner in body.jaxpr.eqns:
            yield inner
            yield from inside(inner)


def contains(closed: ClosedJaxpr, wanted: Wanted) -> bool:
    """Whether any equation of a jaxpr is wanted, at any depth."""
    return any(wanted(equation) or any(map(wanted, inside(equation))) for equation in closed.jaxpr.eqns)


def _rewritten(parameter: Any, rule: Rewriting, wanted: Wanted | None) -> Any:
    """A parameter of an equation, rewritten where it is the body of a call or of control flow."""
    if rule is unchanged:
        return parameter
    if type(parameter) is tuple:  # the branches of `cond`; not a named tuple
        return tuple(_rewritten(part, rule, wanted) for part in parameter)
    if isinstance(parameter, ClosedJaxpr):
        if wanted is not None and not contains(parameter, wanted):
            return parameter
        return jax.make_jaxpr(lambda *values: evaluate(parameter, values, rule, wanted))(*parameter.in_avals)
    if isinstance(parameter, Jaxpr):  # an open one, as in `remat`
        return _rewritten(ClosedJaxpr(parameter, ()), rule, wanted).jaxpr
    return parameter
