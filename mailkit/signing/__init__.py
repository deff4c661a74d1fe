"""What is added to mail that leaves: DKIM signatures, ARC sets, and reverse-paths by SRS."""
