"""The entry point of the command line: the group of commands, and how they end."""

import os
import sys
from typing import Any

import click

from .._version import __version__
from .classify import classify
from .completion import VARIABLE, completion_options, register_shells
from .convert import convert
from .duplicates import duplicates
from .embed import embed
from .errors import (
    Failure,
    cleaned_usage,
    end_as_first_process,
    open_closed_streams,
    to_failure,
    wants_traceback,
    writing_results,
)
from .evaluate import evaluate
from .explore import explore
from .export import export
from .finetune import finetune
from .models import models
from .quantize import quantize
from .search import search
from .serve import serve
from .similar import similar
from .train import train

_EPILOG = """\b
Exit codes:
  0    done
  1    failed; one line on standard error has the reason and what to do
  2    wrong usage: an unknown command, option or name, or an impossible value
  3    done, but some images failed; they are named or counted
  130  interrupted (Ctrl-C); 143 terminated
"""


class Commands(click.Group):
    """A group whose commands end with one line, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn its errors into `Failure`."""
        try:
            with cleaned_usage():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own errors, or a reader that closed the pipe and wants no more
        except (Exception, KeyboardInterrupt) as error:
            if wants_traceback():
                raise
            raise to_failure(error) from error

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Parse the options before the command's name."""
        with cleaned_usage():
            return super().make_context(*args, **settings)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run as a program. If output cannot be written, also that of `--help`, the program fails."""
        end_as_first_process()
        open_closed_streams()
        if VARIABLE in os.environ:
            register_shells()
        try:
            with writing_results():
                return super().main(*args, **settings)
        except Failure as failure:
            if not settings.get("standalone_mode", True):
                raise
            failure.show()
            sys.exit(failure.exit_code)


@click.group(
    cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@completion_options
@click.version_option(__version__, package_name="pnasnet", message="pnasnet %(version)s")
def main() -> None:
    """Compute feature vectors and classes of images with PNASNet-5 and NASNet-A.

    \b
      pnasnet embed photos/ -o features.parquet
      pnasnet classify photo.jpg
      pnasnet similar photo.jpg features.parquet
      pnasnet models

    `pnasnet COMMAND --help` describes each command.
    """


COMMANDS = (
    embed, classify, similar, duplicates, explore, finetune, evaluate, train, search, serve, models, convert, quantize,
    export,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
