"""What the commands have in common: how they read their arguments, and how they tell errors."""

import argparse
import signal
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from tune_bio.errors import InputError, StudyError, UsageError

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2


class Parser(argparse.ArgumentParser):
    """The parser of `python -m tune_bio.COMMAND`; a mistake is a UsageError, told in one line."""

    def __init__(self, command: str, arguments: str, description: str, epilog: str) -> None:
        """`arguments` is what the usage line shows behind the command's name."""
        super().__init__(
            prog=f"python -m tune_bio.{command}",
            usage=f"%(prog)s {arguments}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviated flag would change its meaning with the next version.
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"tune_bio {version('tune_bio')}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def run_command(run: Callable[[], int], interrupted: str) -> int:
    """The exit status of a command; an error is one line, and so is `interrupted`, on Ctrl-C."""
    errors = Console(stderr=True, highlight=False)
    try:
        return run()
    except (InputError, StudyError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except KeyboardInterrupt:
        errors.print(interrupted)
        return 128 + signal.SIGINT
