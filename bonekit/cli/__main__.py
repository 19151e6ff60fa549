"""Lets ``python -m bonekit.cli`` run the command line."""

from bonekit.cli import main

main()
