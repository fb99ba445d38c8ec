"""The same function forward, with another backward pass.

Guided backpropagation, deconvnets and excitation backpropagation replace the derivative of some operations by another
rule. A `Rule` is a record of the equations of a traced function to which it applies, and of the cotangents that it
sends back through them; a `RuleTable` is an ordered list of rules. `with_backward_rules` interprets a function and
gives each equation the first rule that applies. Equations are recognised by their operation, not by the name of a
layer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from extremal_jax.graph.interpreter import Rewriting, inside, interpreted, opened, trace
from extremal_jax.ground.html import section, table

_SAME_NUMBER = frozenset({"broadcast_in_dim", "convert_element_type", "pvary", "reshape"})  # keep a number as it is


class Surface:
    """An opened jaxpr as a graph.

    Attributes:
      makers: the equation that makes a variable; inputs and constants have none.
      readers: the equations that read a variable, of those that depend on the arguments.
    """

    def __init__(self, jaxpr: Jaxpr):
        self.makers: dict[Any, JaxprEqn] = {}
        self.readers: dict[Any, list[JaxprEqn]] = {variable: [] for variable in jaxpr.invars}
        for equation in jaxpr.eqns:
            self.makers.update(dict.fromkeys(equation.outvars, equation))
            inputs = [atom for atom in equation.invars if not isinstance(atom, Literal) and atom in self.readers]
            for variable in inputs:
                self.readers[variable].append(equation)
            self.readers.update({variable: [] for variable in equation.outvars} if inputs else {})

    def active(self, equation: JaxprEqn) -> list[Any]:
        """The inputs of an equation that depend on the function's arguments."""
        return [atom for atom in equation.invars if not isinstance(atom, Literal) and atom in self.readers]


class Site(NamedTuple):
    """An equation, its inputs and its surroundings.

    Attributes:
      equation: of a jaxpr.
      active: for each input, whether it depends on the function's arguments; others, such as weights, are constants.
      literals: for each input, the number that it equals everywhere, if the trace shows it; else None.
      downstream: the names of the primitives through which the output reaches the function's outputs.
      surface: the function that the equation is part of, with its calls opened; None within control flow.
    """

    equation: JaxprEqn
    active: tuple[bool, ...]
    literals: tuple[float | None, ...]
    downstream: frozenset[str] = frozenset()
    surface: Surface | None = None

    @property
    def primitive(self) -> str:
        """The name of the equation's primitive."""
        return self.equation.primitive.name

    def evaluate(self, *inputs: Any) -> Array:
        """The equation's output for these inputs."""
        return self.equation.primitive.bind(*inputs, **self.equation.primitive.get_bind_params(self.equation.params))

    def __str__(self) -> str:
        inputs = (variable.aval.str_short() for variable in self.equation.invars)
        outputs = (variable.aval.str_short() for variable in self.equation.outvars)
        return f"{_title(self.equation)}: {', '.join(inputs)} -> {', '.join(outputs)}"


# (site, inputs, output, cotangent of the output) -> a cotangent for each input; None for inputs that get none
Backward = Callable[[Site, Sequence[Array], Array, Array], Sequence[Array | None]]


@dataclass(frozen=True)
class Rule:
    """A backward pass through some equations, in place of the derivative.

    Attributes:
      name: of the rule.
      primitives: the names of the primitives that it may apply to, of one output each.
      backward: from (site, inputs, output, cotangent) to a cotangent for each input, None for inputs that get none.
      applies: predicate on sites with those primitives; default: all. Equations that no argument reaches are no sites.
      description: in one line.
    """

    name: str
    primitives: frozenset[str]
    backward: Backward
    applies: Callable[[Site], bool] = lambda site: True
    description: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.primitives, str) or not isinstance(self.primitives, Collection):
            raise TypeError(f"primitives must be a set of names, such as frozenset({{'max'}}), got {self.primitives!r}")

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(sorted(self.primitives))})" + (f": {self.description}" if self.description else "")

    def __repr__(self) -> str:
        return f"<Rule {self}>"


@dataclass(frozen=True)
class RuleTable:
    """Rules in the order in which they are tried.

    Attributes:
      name: of the method.
      rules: the first that applies to an equation is used.
      passes: the names of the primitives that keep their derivative where no rule applies; all others that an argument
        reaches are refused. None: all keep it.
      lacking: the sentence of the error if no rule applies to any equation.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> relu = Rule("relu", frozenset({"max"}), lambda site, inputs, output, g: (jnp.maximum(g, 0), None))
      >>> print(RuleTable("positive gradients", (relu,)))
      positive gradients
        relu (max)
        all else: the derivative
      >>> print(RuleTable("positive gradients", (relu,)).matches(lambda x: jax.nn.relu(2 * x), jnp.ones(2)))
      positive gradients
        relu: max: float32[2], float32[] -> float32[2]
    """

    name: str
    rules: tuple[Rule, ...]
    passes: frozenset[str] | None = None
    lacking: str = ""

    @property
    def primitives(self) -> frozenset[str]:
        """All primitives that a rule may apply to."""
        return frozenset[str]().union(*(rule.primitives for rule in self.rules))

    def matches(self, function: Callable[..., Any], *example: Any, **keywords: Any) -> Matches:
        """List the equations of a function that get a rule.

        Args:
          function: of pytrees of arrays.
          example, keywords: its arguments, arrays or `jax.ShapeDtypeStruct`s.

        Raises:
          ValueError: as `with_backward_rules` does.
        """
        _, assigned = _assign(trace(function, *example, **keywords).closed, self)
        return Matches(self, tuple(assigned.values()))

    def __str__(self) -> str:
        others = "the derivative" if self.passes is None else f"the derivative of {', '.join(sorted(self.passes))}; any other is refused"
        return "\n  ".join([self.name, *map(str, self.rules), f"all else: {others}"])

    def __repr__(self) -> str:
        return f"<RuleTable {self.name!r}: {', '.join(rule.name for rule in self.rules)}>"

    def _repr_html_(self) -> str:
        """A table for notebooks: the rules in the order in which they are tried."""
        rows = [(rule.name, ", ".join(sorted(rule.primitives)), rule.description) for rule in self.rules]
        others = "the derivative" if self.passes is None else f"the derivative of {', '.join(sorted(self.passes))}; any other is refused"
        return section(self.name, table([*rows, ("all else", "", others)], ("rule", "operations", "backward pass")))


class Matches(NamedTuple):
    """The equations of a function that get a rule, in the order of the equations.

    Attributes:
      table: the rules.
      pairs: a rule, and the equation that gets it.
    """

    table: RuleTable
    pairs: tuple[tuple[Rule, Site], ...]

    def count(self, name: str) -> int:
        """The number of equations that get the rule of this name."""
        return sum(rule.name == name for rule, _ in self.pairs)

    def __str__(self) -> str:
        return "\n".join([self.table.name, *(f"  {rule.name}: {site}" for rule, site in self.pairs)])

    def __repr__(self) -> str:
        return f"<Matches of {self.table.name!r}: {len(self.pairs)} equations>"

    def _repr_html_(self) -> str:
        """A table for notebooks: the equations with their rules."""
        return section(self.table.name, table(((rule.name, site) for rule, site in self.pairs), ("rule", "equation")))


def with_backward_rules(function: Callable[..., Any], table: RuleTable) -> Callable[..., Any]:
    """Give a function another backward pass; the forward pass stays.

    Args:
      function: of pytrees of arrays; the arrays that it closes over, such as weights, are constants.
      table: the rules.

    Returns:
      A function of the same arguments and outputs. Its reverse-mode derivative (`jax.grad`, `jax.vjp`) follows the
      rules; it has no forward mode. Calls with custom derivatives (`custom_jvp`, `custom_vjp`) and `remat` are opened
      if they contain a primitive that a rule may apply to; others keep their derivatives.

    Raises:
      TypeError: if the table is no `RuleTable`.
      ValueError: when called: if no rule applies to any equation; if a rule applies to an equation within control
        flow, which it cannot reach, or of several outputs; or if the table refuses an operation.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> relu = Rule("relu", frozenset({"max"}), lambda site, inputs, output, g: (jnp.maximum(g, 0), None))
      >>> f = with_backward_rules(lambda x: -jax.nn.relu(x).sum(), RuleTable("positive gradients", (relu,)))
      >>> x = jnp.array([-1.0, 2.0])
      >>> float(f(x)), jax.grad(f)(x).tolist()
      (-2.0, [0.0, 0.0])
    """

    if not isinstance(table, RuleTable):
        raise TypeError(f"table must be a RuleTable, got {type(table).__name__}")

    def plan(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, Rewriting]:
        surface, assigned = _assign(closed, table)

        def rule(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
            found = assigned.get(id(equation))
            return None if found is None else [_ruled(*found)(*values)]

        return surface, rule

    return functools.wraps(function)(interpreted(function, plan))


def _ruled(rule: Rule, site: Site) -> Callable[..., Array]:
    """An equation as a function whose backward pass is a rule."""
    apply = jax.custom_vjp(site.evaluate)

    def forward(*inputs: Any) -> tuple[Array, Any]:
        output = site.evaluate(*inputs)
        return output, (inputs, output)

    def backward(residuals: Any, cotangent: Array) -> tuple[Array | None, ...]:
        inputs, output = residuals
        return tuple(rule.backward(site, inputs, output, cotangent))

    apply.defvjp(forward, backward)
    return apply


def _assign(closed: ClosedJaxpr, table: RuleTable) -> tuple[ClosedJaxpr, dict[int, tuple[Rule, Site]]]:
    """A jaxpr, opened, and the rules of its equations, by the equation's id."""
    surface = opened(closed, lambda equation: equation.primitive.name in table.primitives)
    assigned: dict[int, tuple[Rule, Site]] = {}
    graph = Surface(surface.jaxpr)
    literals: dict[Any, float] = {}
    downstream = _downstream(surface.jaxpr)
    for equation in surface.jaxpr.eqns:
        numbers = tuple(_number(atom, literals) for atom in equation.invars)
        if equation.primitive.name in _SAME_NUMBER and numbers[0] is not None:
            literals[equation.outvars[0]] = numbers[0]
        active = graph.active(equation)
        if not active:
            continue
        reached = tuple(not isinstance(atom, Literal) and atom in active for atom in equation.invars)
        site = Site(equation, reached, numbers, downstream[id(equation)], graph)
        rule = _first(table, site)
        if rule is not None:
            if equation.primitive.multiple_results:
                raise ValueError(
                    f"the rule {rule.name!r} of {table.name} applies to {equation.primitive.name!r}, which has a list of outputs"
                    f" ({len(equation.outvars)}); rules are for equations of one output: leave {equation.primitive.name!r} out of its"
                    f" primitives"
                )
            assigned[id(equation)] = rule, site
            continue
        _check_reach(table, equation)
        if table.passes is not None and equation.primitive.name not in table.passes:
            both = " of several values that depend on the arguments" if sum(reached) > 1 else ""
            raise ValueError(
                f"{table.name} has no rule for {_title(equation)}{both}, which gives {equation.outvars[0].aval.str_short()}; it has rules"
                f" for {', '.join(sorted(table.primitives))}"
            )
    if not assigned:
        rules = "; ".join(map(str, table.rules))
        lacking = f": {table.lacking}" if table.lacking else ""
        raise ValueError(f"no rule of {table.name} applies to any equation of the function{lacking}; its rules are {rules}")
    return surface, assigned


def _downstream(jaxpr: Jaxpr) -> dict[int, frozenset[str]]:
    """For each equation, by its id, the names of the primitives through which its outputs reach the jaxpr's outputs."""
    after = {atom: frozenset[str]() for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    downstream = {}
    for equation in reversed(jaxpr.eqns):
        used = [after[variable] for variable in equation.outvars if variable in after]
        downstream[id(equation)] = frozenset[str]().union(*used)
        if used:
            for atom in (atom for atom in equation.invars if not isinstance(atom, Literal)):
                after[atom] = after.get(atom, frozenset()) | downstream[id(equation)] | {equation.primitive.name}
    return downstream


def _first(table: RuleTable, site: Site) -> Rule | None:
    return next((rule for rule in table.rules if site.primitive in rule.primitives and rule.applies(site)), None)


def _check_reach(table: RuleTable, equation: JaxprEqn) -> None:
    """Raise a ValueError if a rule would apply to an equation in a body, whichever of its inputs the arguments reach."""
    for inner in inside(equation):
        count = len(inner.invars)
        numbers = tuple(_number(atom, {}) for atom in inner.invars)
        for reached in (tuple(i == j for j in range(count)) for i in range(count)):
            rule = _first(table, Site(inner, reached, numbers))
            if rule is not None:
                raise ValueError(
                    f"the rule {rule.name!r} of {table.name} would apply to {inner.primitive.name!r} within a {equation.primitive.name},"
                    f" which it cannot reach; unroll that part of the function"
                )


def _number(atom: Any, literals: dict[Any, float]) -> float | None:
    if not isinstance(atom, Literal):
        return literals.get(atom)
    return float(atom.val) if np.ndim(atom.val) == 0 and jnp.issubdtype(jnp.result_type(atom.val), np.number) else None


def _title(equation: JaxprEqn) -> str:
    """The primitive of an equation, and the name of the function that it calls."""
    name = equation.params.get("name")
    return f"{equation.primitive.name} ({name})" if isinstance(name, str) else equation.primitive.name
