"""What records show, and nothing else: tables, LaTeX, pictures, the site, pairs of methods."""

__all__ = [
    "advice_text",
    "advise",
    "compare",
    "curves",
    "distortion_tables",
    "frontier",
    "leaderboard",
    "paper",
    "paper_files",
    "pictures",
    "plans",
    "reference",
    "selection",
    "site",
    "speed_tables",
    "tables",
    "verify",
    "verify_folders",
]
