"""Extremal perturbations of images and of the channels of a layer."""
