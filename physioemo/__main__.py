"""``python -m physioemo``."""

from physioemo.cli import main

if __name__ == "__main__":
    main()
