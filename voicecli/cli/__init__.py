"""The commands, a module each; the only users of typer."""
