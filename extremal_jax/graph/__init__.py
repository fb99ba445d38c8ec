"""Interpret and rewrite any JAX function: read and replace named values, split it, differentiate it by other rules.

>>> import jax, jax.numpy as jnp
>>> from jax.ad_checkpoint import checkpoint_name
>>> from extremal_jax import graph
>>> def model(x):
...     return checkpoint_name(jax.nn.relu(x @ jnp.ones((3, 2))), "hidden").sum(axis=-1)
>>> [activation.name for activation in graph.activations(model, jnp.ones((1, 3)))]
['hidden']
>>> graph.intervene(model, {"hidden": lambda hidden: hidden.at[:, 0].set(0)})(jnp.ones((1, 3))).tolist()
[3.0]
"""

from extremal_jax.graph.activations import Activation, activations, capture, intervene
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.cut import Parts, cuts, split
from extremal_jax.graph.interpreter import rewrite
from extremal_jax.graph.rules import Matches, Rule, RuleTable, Site, with_backward_rules

__all__ = [
    "Activation",
    "Matches",
    "Parts",
    "Rule",
    "RuleTable",
    "Site",
    "activations",
    "canonical",
    "capture",
    "cuts",
    "intervene",
    "rewrite",
    "split",
    "with_backward_rules",
]
