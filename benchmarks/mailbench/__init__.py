"""The same mail workloads against several servers on loopback, side by side."""
