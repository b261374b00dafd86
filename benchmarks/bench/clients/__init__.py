"""The clients: one file for each library; each runs in its own process."""
