"""`python -m millrace.pipelines`: the command line."""

from .cli.process import command

command()
