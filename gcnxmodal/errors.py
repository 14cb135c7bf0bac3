"""The one exception for what a user can mend."""


class InputError(ValueError):
    """Bad input from the user.

    The message names the file, the field and the fix, in that order. Entry points print it without a
    traceback and exit with status 2, before anything is computed or written.

    >>> from gcnxmodal import InputError, load_dataset
    >>> try:
    ...     load_dataset("emoji", wrods=2_000)
    ... except InputError as error:
    ...     "wrods" in str(error)
    True
    """
