"""The parts of the benchmark: a server, a delaying proxy, the clients, and the results."""
