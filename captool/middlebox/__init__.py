"""Middleboxes and their idle timeouts: the catalogue and its reader."""
