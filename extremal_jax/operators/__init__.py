"""The paper: masks, perturbations, area, rewards, games, nesting."""
