"""`python -m manylabel`: the command line."""

from __future__ import annotations

from manylabel.cli.main import main

if __name__ == "__main__":
    main()
