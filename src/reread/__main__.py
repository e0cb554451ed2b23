"""`python -m reread` and the `reread` command."""

from reread.cli import main

if __name__ == "__main__":
    main()
