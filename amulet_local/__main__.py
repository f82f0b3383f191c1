"""`python -m amulet_local`: the command `amulet-local`."""

from amulet_local.cli.main import main

if __name__ == "__main__":
    main()
