"""A small shop that sends mail: order confirmations, password resets, a newsletter."""
