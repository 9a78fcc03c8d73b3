"""Time and memory of this project's computations, beside plain formulations of the same."""
