"""Extremal perturbations: masks, perturbations, the area-ranking loss, and the solver."""
