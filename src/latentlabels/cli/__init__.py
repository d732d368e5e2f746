"""The way in, and what becomes of an error: one line, and an exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Any

USAGE = 2
FAILED = 1
INTERRUPTED = 130
INTERRUPTION = "interrupted; nothing was written."


class Stopped(Exception):  # noqa: N818
    """The user interrupted a command that keeps something; the message says what."""


def main(args: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: what stands behind the program's name; by default what the process was given.

    Returns:
        The exit code: 0; 1 where the system failed; 2 where the arguments, the table or the labels
        cannot be used; 130 where the user interrupted.
    """
    arguments = sys.argv[1:] if args is None else args
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                # They are for developers; what a user can act on is said by the commands.
                warnings.simplefilter("ignore")
            return _run_command(arguments or ["--help"])
    except KeyboardInterrupt:
        return _end(INTERRUPTION, INTERRUPTED)
    except Stopped as stopped:
        return _end(str(stopped), INTERRUPTED)
    except OSError as error:
        return _end(f"error: {_of_system(error)}", FAILED)
    except ValueError as error:
        return _end(f"error: {error}", USAGE)
    except (MemoryError, RuntimeError) as error:
        # torch has no class of its own for memory that cannot be had on the CPU.
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        return _end("error: out of memory. Ask for fewer units, chains or rows.", FAILED)


def run() -> None:
    """The console script: exits with what `main` returns."""
    sys.exit(main())


def one_line(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would act on."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in flat)


def _run_command(arguments: list[str]) -> int:
    # Here, and not above: it takes seconds, in which the user may interrupt.
    import typer

    from latentlabels.cli.app import app

    # Click's own class, from whichever click Typer brings along.
    usage_error: type[Any] = typer.BadParameter.__mro__[1]
    try:
        command = typer.main.get_command(app)
        # A command that fits writes down what was typed.
        code = command.main(
            arguments, prog_name="latentlabels", standalone_mode=False, obj=tuple(arguments)
        )
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except usage_error as error:
        return _end(f"error: {error.format_message()}", USAGE)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0


def _of_system(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror


def _end(message: str, code: int) -> int:
    sys.stderr.write(f"latentlabels: {one_line(message)}\n")
    return code
