"""`python -m benchmark`."""

import sys

from .cli import app
from .errors import UserError
from .stages import disk_is_full


def main() -> None:
    """Run the command line; what the user can mend is printed alone, with exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if not disk_is_full(error):
            raise
        print(
            f"error: The disk is full ({error}). What was finished is kept, nothing half-written "
            "is; make room and run the same command again, or choose another --work folder.",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
