"""Tables of pictures and labels, as users bring them: which files, which columns, what they say."""
