"""How fast and how large: ours beside a plain formulation of the same computation, in one run."""
