"""mailbackends against the servers of the real all_servers; see docs/compatibility.md."""
