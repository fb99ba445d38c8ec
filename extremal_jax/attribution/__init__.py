"""Extremal perturbation and the methods that it is compared with, as functions of model, images, targets and options.

>>> import jax, jax.numpy as jnp
>>> from jax.ad_checkpoint import checkpoint_name
>>> from extremal_jax import attribution
>>> def model(x):
...     layer = checkpoint_name(jax.nn.relu(x), "layer")
...     return layer.mean(axis=(1, 2))
>>> images = jnp.ones((2, 8, 8, 3))
>>> attribution.gradient(model, images, [0, 2]).shape
(2, 8, 8)
>>> attribution.grad_cam(model, images, [0, 2], at="layer", resize=(16, 16)).shape
(2, 16, 16)
>>> [name for name, method in attribution.METHODS.items() if not method.needs_gradient]
['occlusion', 'rise']
"""

from extremal_jax.attribution.contours import extremal_contours
from extremal_jax.attribution.evaluations import SCORES
from extremal_jax.attribution.excitation import contrastive_excitation_backprop, excitation_backprop
from extremal_jax.attribution.extremal_saliency import extremal_saliency
from extremal_jax.attribution.gradients import deconvnet, grad_cam, grad_cam_plus_plus, gradient, guided_backprop, linear_approx
from extremal_jax.attribution.igos import igos, igos_plus_plus
from extremal_jax.attribution.method import Method, collect
from extremal_jax.attribution.occlusion import occlusion
from extremal_jax.attribution.paths import integrated_gradients, smooth_grad
from extremal_jax.attribution.rise import rise
from extremal_jax.attribution.rules import CONTRAST, DECONVNET, EXCITATION, GUIDED

__all__ = [
    "CONTRAST",
    "DECONVNET",
    "EXCITATION",
    "GUIDED",
    "METHODS",
    "SCORES",
    "Method",
    "contrastive_excitation_backprop",
    "deconvnet",
    "excitation_backprop",
    "extremal_contours",
    "extremal_saliency",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "guided_backprop",
    "igos",
    "igos_plus_plus",
    "integrated_gradients",
    "linear_approx",
    "occlusion",
    "rise",
    "smooth_grad",
]

METHODS = collect()
globals().update({name: method.function for name, method in METHODS.items()})  # also those of modules that are not named here
