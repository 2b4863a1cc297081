"""HTTP/1.1 exchanges on plaintext, upgrades."""
