"""Feature inversion: the picture that a layer's activation stands for."""
