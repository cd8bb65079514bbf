"""`python -m pgtools` is `pgtools`."""

from pgtools.cli import main

if __name__ == "__main__":
    main()
