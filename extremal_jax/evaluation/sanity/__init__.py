"""Whether a map depends on the model and stays when the image hardly changes."""
