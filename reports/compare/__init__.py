"""Two sets of records side by side: which files both hold, and what changed."""
