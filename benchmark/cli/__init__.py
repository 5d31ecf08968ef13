"""The command line: every command and its options; torch is imported when a command needs it."""

__all__ = [
    "app",
]
