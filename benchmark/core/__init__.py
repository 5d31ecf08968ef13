"""What everything stands on: errors, options, devices, files, keys, the cache, plugins."""

__all__ = [
    "bounded",
    "cache",
    "code_digest",
    "device",
    "errors",
    "files",
    "keys",
    "needs",
    "options",
    "plugins",
    "progress",
]
