"""Files of weights: safetensors, and PyTorch's."""
