"""Argument parsing and error reporting that all commands share."""

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
    """Parser of `python -m tune_bio.COMMAND`, which reports a mistake as a one-line UsageError."""

    def __init__(self, command: str, arguments: str, description: str, epilog: str) -> None:
        """Create the parser; `arguments` follows the command's name in the usage line."""
        super().__init__(
            prog=f"python -m tune_bio.{command}",
            usage=f"%(prog)s {arguments}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviated flag could change its meaning with the next version.
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"tune_bio {version('tune_bio')}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def run_command(run: Callable[[], int], interrupted: str) -> int:
    """Run a command and return its exit status.

    Each error is printed in one line; on Ctrl-C, `interrupted` is printed.
    """
    stderr = Console(stderr=True, highlight=False)
    try:
        return run()
    except (InputError, StudyError) as error:
        stderr.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except KeyboardInterrupt:
        stderr.print(interrupted)
        return 128 + signal.SIGINT
