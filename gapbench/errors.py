"""What is told to the user in one line."""


class UserError(Exception):
    """A mistake in the input, told in one line that names what is wrong and how to mend it.

    The command line prints the message alone and exits with code 2; no traceback is shown.
    """


class EngineFailure(Exception):
    """An engine broke or fell silent amid a run; what was finished is kept.

    The command line prints the message alone and exits with code 1.
    """


class Stopped(Exception):
    """Ctrl-C amid a command, with what has become of its work.

    The command line prints the message alone and exits with code 130.
    """


class UnfinishedWarning(UserWarning):
    """Numbers are given for what is there of a run that was interrupted."""
