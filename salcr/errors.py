"""The error that users see as a message instead of a traceback."""


class SalcrError(Exception):
    """Something the user can correct: bad data, a bad key, a collapsed training.

    The message names the file or the key and says what to do. the command line and the
    Snakefile print it without a traceback and exit with 1.
    """


# The words of torch and the libraries below it, on a GPU and on a CPU. Most raise a RuntimeError;
# others occur where the memory does not even suffice to load a library.
_NO_MEMORY = (
    "out of memory", "llocate memory", "ALLOC_FAILED", "could not create a primitive",
    "libllvmlite.so",
)  # fmt: skip
_KINDS = (RuntimeError, OSError, ImportError)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an exception says that a GPU or the machine has no memory left."""
    says_so = isinstance(error, _KINDS) and any(part in str(error) for part in _NO_MEMORY)
    return says_so or isinstance(error, MemoryError)
