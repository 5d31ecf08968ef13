"""The leaderboard site: static pages of comparisons, methods and records.

They open from a disk or from any web server, and ask nothing of the network.
"""

from .pages import write_site

__all__ = ["write_site"]
