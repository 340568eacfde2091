"""Entries from the terminal: parse, call a store or a session, render."""
