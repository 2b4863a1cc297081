"""Key material on disk: PEM, key logs, docker-machine directories; loading and harvesting."""
