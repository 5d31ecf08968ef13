"""What records show, and nothing else: tables, LaTeX, pictures, the site, pairs of methods."""

__all__ = [
    "advice_text",
    "advise",
    "compare",
    "curves",
    "frontier",
    "leaderboard",
    "pictures",
    "reference",
    "site",
    "speed_tables",
    "tables",
    "verify",
]
