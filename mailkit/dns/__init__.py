"""DNS as mail needs it: a resolver's contract in values, a client by twisted.names, a cache."""
