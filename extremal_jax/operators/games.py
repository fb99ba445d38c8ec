"""The games: which masks are shown to the model, and how the responses combine into what is maximised.

    preserve:   Φ(m ⊗ x)                     the mask keeps the evidence
    delete:     −Φ((1 − m) ⊗ x)              the mask covers the evidence
    dual:       Φ(m ⊗ x) − Φ((1 − m) ⊗ x)    both at once; the paper's hybrid game

Source: Fong, Patrick and Vedaldi (2019); TorchRay calls the games variants.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@dataclass(frozen=True)
class Game:
    """One or two terms, each with the mask or its complement, and a sign.

    Attributes:
      name: how a `Config` asks for it.
      terms: pairs (whether the complement is shown, sign of its response).

    Example:
      >>> import jax.numpy as jnp
      >>> DUAL.show(jnp.array([[[1.0, 0.25]]])).tolist()
      [[[[1.0, 0.25]]], [[[0.0, 0.75]]]]
      >>> DUAL.combine(jnp.array([[3.0], [1.0]])).tolist()
      [2.0]
    """

    name: str
    terms: tuple[tuple[bool, int], ...]

    def show(self, masks: Float[Array, "*masks H W"]) -> Float[Array, "terms *masks H W"]:
        """The masks that perturb the image, term by term."""
        return jnp.stack([1 - masks if complement else masks for complement, _ in self.terms])

    def combine(self, responses: Float[Array, "terms *masks"]) -> Float[Array, "*masks"]:  # noqa: F821
        """What is maximised, from the responses to the masks of `show`: the reward."""
        signs = jnp.array([sign for _, sign in self.terms], responses.dtype)
        return jnp.tensordot(signs, responses, 1)


PRESERVE = Game("preserve", ((False, 1),))
DELETE = Game("delete", ((True, -1),))
DUAL = Game("dual", ((False, 1), (True, -1)))
GAMES = {game.name: game for game in (PRESERVE, DELETE, DUAL)}
