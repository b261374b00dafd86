"""The clients: one file for each library, each in a process of its own."""
