"""`python -m mbdl` is the command line."""

from mbdl.cli import main

if __name__ == "__main__":
    main()
