"""``python -m mailbackends``: the command line."""

from mailbackends.cli import main

if __name__ == "__main__":
    main()
