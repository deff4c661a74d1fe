"""What the clients of all protocols share: connections, TLS by policy, what can go wrong."""
