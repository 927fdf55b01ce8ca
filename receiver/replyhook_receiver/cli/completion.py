"""`replyhook completion`: what a shell needs to complete our commands; click's own."""

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": '~/.bashrc:  eval "$(replyhook completion bash)"',
    "zsh": '~/.zshrc:  eval "$(replyhook completion zsh)"',
    "fish": "once:  replyhook completion fish > ~/.config/fish/completions/replyhook.fish",
}


@click.command(epilog="\b\n" + "\n".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete replyhook's commands and options."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "replyhook", "_REPLYHOOK_COMPLETE").source())
