"""What everything stands on: errors, options, devices, files, keys, the cache, plugins."""

__all__ = [
    "bounded",
    "cache",
    "code_digest",
    "command",
    "declared",
    "device",
    "errors",
    "face",
    "files",
    "keys",
    "needs",
    "options",
    "pickles",
    "plugins",
    "progress",
]
