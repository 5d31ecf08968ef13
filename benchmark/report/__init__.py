"""What records show, and nothing else: tables, LaTeX, pictures, the site, pairs of methods."""

__all__ = [
    "advice_text",
    "advise",
    "compare",
    "curves",
    "distortion_tables",
    "fitting",
    "frontier",
    "leaderboard",
    "pictures",
    "plan_table",
    "reference",
    "site",
    "speed_tables",
    "tables",
    "values",
    "verify",
]
