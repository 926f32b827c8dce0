"""What the commands have in common: how they read their arguments."""

import argparse
from typing import NoReturn

from tune_bio import __version__
from tune_bio.errors import UsageError


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
        self.add_argument("--version", action="version", version=f"tune_bio {__version__}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")
