"""The one exception that users see as a message instead of a traceback."""


class SalcrError(Exception):
    """Something the user can mend: bad data, a bad key, a collapsed training.

    The message names the file or the key and says what to do. `python -m salcr` and the
    Snakefile print it without a traceback and exit with 1.
    """
