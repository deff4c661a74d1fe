"""Homes: the files of accounts, on disk or made of their mail."""
