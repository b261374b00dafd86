"""The parts of the benchmark: a server, a delaying proxy, the clients, and what was measured."""
