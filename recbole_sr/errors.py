"""The one exception a user is meant to read."""


class InputError(ValueError):
    """Something the user gave cannot work.

    The message is one sentence: the key or file, what was expected, what was got, what to do.
    The command line prints it and ends with exit code 2.
    """
