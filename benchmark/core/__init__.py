"""What everything stands on: errors, options, devices, files, the Hub, keys, the cache, plugins."""

__all__ = [
    "bounded",
    "bounded_cache",
    "cache",
    "code_digest",
    "command",
    "declared",
    "device",
    "errors",
    "face",
    "facts",
    "files",
    "hub",
    "keys",
    "needs",
    "options",
    "pickles",
    "plugins",
    "progress",
    "remote",
    "work",
]
