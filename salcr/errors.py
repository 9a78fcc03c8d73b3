"""What users see as a message instead of a traceback."""


class SalcrError(Exception):
    """Something the user can mend: bad data, a bad key, a collapsed training.

    The message names the file or the key and says what to do. `python -m salcr` and the
    Snakefile print it without a traceback and exit with 1.
    """


# How torch and the libraries below it put it, on a GPU and on a CPU: plain RuntimeErrors, mostly;
# other errors where there is not even room for a library's code.
_NO_MEMORY = (
    "out of memory", "llocate memory", "ALLOC_FAILED", "could not create a primitive",
    "libllvmlite.so",
)  # fmt: skip
_KINDS = (RuntimeError, OSError, ImportError)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception says that a GPU or the machine has no memory left."""
    words = isinstance(error, _KINDS) and any(part in str(error) for part in _NO_MEMORY)
    return words or isinstance(error, MemoryError)
