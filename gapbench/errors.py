"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in the input, told in one line that names what is wrong and how to mend it.

    The command line prints the message alone and exits with code 2; no traceback is shown.
    """
