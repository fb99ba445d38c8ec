"""Whether a map says what matters to the model: its scores for altered images."""
