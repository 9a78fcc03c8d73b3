"""The network, its checkpoints, and what is computed from a network alone."""
