"""What only a GPU can show: `python -m benchmarks.device`, or `make gpu-check`.

It needs torch, numba, and pydantic, but neither the project's environment nor a network. Sections
are independent of each other; what they should show is in expected.yaml.
"""
