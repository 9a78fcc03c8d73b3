"""The network, its checkpoints, features, heat maps and size."""
