"""mailbackends against the servers of the real world; see docs/compatibility.md."""
