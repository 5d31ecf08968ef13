"""Sets that are streamed: class folders, tars and tables whose pictures stay encoded on disk."""
