"""The networks, a file for each family, and the layers that they share."""
