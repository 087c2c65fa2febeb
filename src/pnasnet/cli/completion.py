"""Completion in bash, zsh and fish: `--show-completion` and `--install-completion`, on Click's own machinery.

The shell's script runs `pnasnet` with `_PNASNET_COMPLETE` set, and Click prints the words that can stand at the cursor.
"""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.decorators import FC

from ..errors import PnasnetError
from ..support.files import write_text, writing
from .errors import to_failure
from .printing import say
from .values import one_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE = "_PNASNET_COMPLETE"
"""The environment variable that is set when a shell's script asks for completions."""
SHELLS = ("bash", "zsh", "fish")
_NAME = "pnasnet"
_CURRENT = "current"
"""The value of an option without a shell: the current one."""

_BASH = """\
%(complete_func)s() {
    local type value
    compopt +o filenames
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$value") ;;
            dir) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$value") ;;
        esac
    done < <(IFS=$'\\n'; env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
"""Completes names and paths together, because a model may be either. Click's script completes only one of them."""

_ZSH_LINE = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"
"""Defines `compdef`, which Click's script calls, in a zsh that has not loaded compinit."""


def register_shells() -> None:
    """Register our bash script with Click, and completion of `--model=NAME` as one word for all shells."""
    from click import shell_completion as click_s

    class Bash(click_s.BashComplete):
        source_template = _BASH

        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            if args[-1:] == ["="]:  # bash splits --model=NAME into three words
                args.pop()
            return args, incomplete

    class Zsh(click_s.ZshComplete):
        def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
            return _with_option(incomplete, super().get_completions(args, incomplete))

    class Fish(click_s.FishComplete):
        def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
            return _with_option(incomplete, super().get_completions(args, incomplete))

    for each in (Bash, Zsh, Fish):
        click_s.add_completion_class(each)


def _with_option(word: str, items: "list[CompletionItem[str]]") -> "list[CompletionItem[str]]":
    """Prepend `--model=` to the values, because they replace the whole word `--model=VAL`."""
    option, equals, _ = word.partition("=")
    if equals and option.startswith("--"):
        for item in items:
            item.value = f"{option}={item.value}"
    return items


def script(command: click.Command, shell: str) -> str:
    """Return the script that completes `pnasnet` in a shell, one of `SHELLS`."""
    from click.shell_completion import get_completion_class

    register_shells()
    found = get_completion_class(shell)
    assert found is not None
    return found(command, {}, _NAME, VARIABLE).source().rstrip() + "\n"


def install(command: click.Command, shell: str) -> list[Path]:
    """Write the script below the user's home, and load it in the shell's start-up file; return the written files.

    fish needs no line in a start-up file. Raises `OutputError`.
    """
    target, startup = _places(shell)
    with writing(target.parent, "choose another home"):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, script(command, shell))
    if startup is None:
        return [target]
    line = f". {shlex.quote(str(target))}  # completion of pnasnet"
    if shell == "zsh":
        line = f"{_ZSH_LINE}; {line}"
    with writing(startup, "add to it the output of --show-completion"):
        old = startup.read_text("utf-8", "surrogateescape") if startup.exists() else ""
        if line in old.splitlines():
            return [target]
        with startup.open("a", encoding="utf-8") as file:
            file.write(("\n" if old and not old.endswith("\n") else "") + line + "\n")
    return [target, startup]


def _places(shell: str) -> tuple[Path, Path | None]:
    """Return the path of the script, and the start-up file that must load it; None for fish."""
    home = Path.home()
    if shell == "fish":
        return _folder("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / f"{_NAME}.fish", None
    target = _folder("XDG_DATA_HOME", ".local/share") / _NAME / f"completion.{shell}"
    return target, (home / ".bashrc" if shell == "bash" else Path(os.environ.get("ZDOTDIR") or home) / ".zshrc")


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)


def _chosen(shell: str) -> str:
    """Return the name of the shell, by default from `$SHELL`. Raises `click.UsageError`."""
    name = Path(os.environ.get("SHELL", "")).name if shell == _CURRENT else shell
    if name not in SHELLS:
        known = ", ".join(SHELLS[:-1]) + f" or {SHELLS[-1]}"
        if shell == _CURRENT:
            raise click.UsageError(f"cannot tell the shell from $SHELL: add {known}")
        raise click.UsageError(f"there is no completion for {name!r}: choose {known}")
    return name


def _show(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    click.echo(script(context.command, _chosen(shell)), nl=False)
    context.exit()


def _install(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    name = _chosen(shell)
    try:
        written = install(context.command, name)
    except PnasnetError as error:  # `Commands` handles only the errors of commands
        raise to_failure(error) from error
    for path in written:
        say(f"{path}: written")
    say(f"Open a new {name} to use it.")
    context.exit()


def completion_options(command: FC) -> FC:
    """Add `--show-completion` and `--install-completion` to the group of commands."""
    for name, callback, help_text in (
        ("--show-completion", _show, "Print the shell's completion script and exit."),
        ("--install-completion", _install, "Install completion for bash, zsh or fish and exit.  [default: $SHELL]"),
    ):
        command = click.option(
            name, is_flag=False, flag_value=_CURRENT, metavar="[SHELL]", callback=callback, help=help_text,
            is_eager=True, expose_value=False, shell_complete=one_of(*SHELLS),
        )(command)  # fmt: skip
    return command
