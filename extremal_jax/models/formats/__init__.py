"""Files of weights: safetensors, PyTorch's, and big_vision's."""
