"""An opened jaxpr as a graph: the equation that makes each variable, and the equations that read it."""

from __future__ import annotations

from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Literal


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
