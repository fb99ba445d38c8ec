"""Tests of attribution maps: localisation, faithfulness, sanity, and benchmarks of them on datasets.

>>> import jax.numpy as jnp
>>> from extremal_jax import evaluation
>>> def model(x):  # the light of the left half, and of the right half
...     return jnp.stack([x[:, :, :4].mean((1, 2, 3)), x[:, :, 4:].mean((1, 2, 3))], axis=-1)
>>> images, maps = jnp.ones((2, 8, 8, 3)), jnp.zeros((2, 8, 8)).at[:, :, :4].set(1)
>>> evaluation.insertion(model, images, 0, maps, score="logit", baseline=0.0).auc.tolist()
[0.75, 0.75]
"""

from extremal_jax.evaluation.faithfulness.curves import PROTOCOLS, Curve, Protocol, deletion, insertion, pixel_flipping
from extremal_jax.evaluation.faithfulness.drop import Drop, average_drop
from extremal_jax.evaluation.faithfulness.exact_areas import area_response, reward_at_areas
from extremal_jax.evaluation.faithfulness.imputation import impute
from extremal_jax.evaluation.faithfulness.infidelity import infidelity
from extremal_jax.evaluation.faithfulness.road import Road, road
from extremal_jax.evaluation.faithfulness.sensitivity_n import sensitivity_n
from extremal_jax.evaluation.localisation.disconnected import DiFull, DiPart
from extremal_jax.evaluation.localisation.grids import Grids, grid_hit, grid_share, make_grids
from extremal_jax.evaluation.localisation.overlap import energy, iou, relevance_mass, relevance_rank
from extremal_jax.evaluation.localisation.pasted import input_dependence, input_independence, model_contrast, pasted_pairs
from extremal_jax.evaluation.localisation.pointing import ClassAccuracy, class_accuracy, highest_point, is_hit
from extremal_jax.evaluation.localisation.thresholds import aup, aur, average_precision, region_entropy, region_information
from extremal_jax.evaluation.sanity.complexity import EfficientRandomisation, efficient_randomisation
from extremal_jax.evaluation.sanity.parameters import parameter_layers, randomise
from extremal_jax.evaluation.sanity.randomisation import Randomisation, parameter_randomisation
from extremal_jax.evaluation.sanity.robustness import average_sensitivity, max_sensitivity
from extremal_jax.evaluation.sanity.similarity import rank_correlation, ssim
from extremal_jax.evaluation.suite.benchmark import benchmark
from extremal_jax.evaluation.suite.contenders import Contender, Explanation
from extremal_jax.evaluation.suite.standard import TESTS
from extremal_jax.evaluation.suite.summaries import Report, tabulate

__all__ = [
    "PROTOCOLS",
    "TESTS",
    "ClassAccuracy",
    "Contender",
    "Curve",
    "DiFull",
    "DiPart",
    "Drop",
    "EfficientRandomisation",
    "Explanation",
    "Grids",
    "Protocol",
    "Randomisation",
    "Report",
    "Road",
    "area_response",
    "aup",
    "aur",
    "average_drop",
    "average_precision",
    "average_sensitivity",
    "benchmark",
    "class_accuracy",
    "deletion",
    "efficient_randomisation",
    "energy",
    "grid_hit",
    "grid_share",
    "highest_point",
    "impute",
    "infidelity",
    "input_dependence",
    "input_independence",
    "insertion",
    "iou",
    "is_hit",
    "make_grids",
    "max_sensitivity",
    "model_contrast",
    "parameter_layers",
    "parameter_randomisation",
    "pasted_pairs",
    "pixel_flipping",
    "randomise",
    "rank_correlation",
    "region_entropy",
    "region_information",
    "relevance_mass",
    "relevance_rank",
    "reward_at_areas",
    "road",
    "sensitivity_n",
    "ssim",
    "tabulate",
]
