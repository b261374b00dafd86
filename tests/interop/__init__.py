"""Tests with real servers; docs/compatibility.md has the results."""
