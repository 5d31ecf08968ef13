"""The checks that plugins are held against."""
