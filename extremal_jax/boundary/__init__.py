"""What callers give, checked: images, targets, areas, models."""
