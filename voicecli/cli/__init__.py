"""The commands, one module each; only this package imports typer."""
