"""`python -m reread` and the `reread` command."""

import sys


def main() -> None:
    """Run the command.  Ctrl-C is exit code 130 from here on, also while the command itself is still being loaded."""
    try:
        from reread.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
