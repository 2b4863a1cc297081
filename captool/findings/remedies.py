"""What several findings recommend."""

# FACTS 2: the versions from which the program, built with a newer Go, sends a probe every 15 s by itself.
KEEPALIVE_REMEDY = (
    "Let one side send TCP keepalive probes more often than the shortest timeout on the path. The program must ask for them "
    "on its socket (a sysctl alone does nothing): docker CLI 19.03, dockerd 19.03.9 or 20.10, and GitLab Runner 12.6 and "
    "newer send one every 15 s."
)
