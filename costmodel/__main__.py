"""`python -m costmodel`."""

from costmodel.cli.main import main  # type: ignore[import-not-found]

main()
